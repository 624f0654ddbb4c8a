# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy of a package on a labelled data set, computed by the accelerator.

* `nyuv2`, `matfile`, `dataset` : the frames and their labels
* `classes13` : from 39 classes to 13
* `conditions` : the same frames as another camera might have taken them
* `predictors` : board, integer specification, float model
* `metrics`, `scoring` : what is counted, and against which labels
* `runner`, `job` : frames through a predictor; one evaluation from start to end
* `costs` : what a frame of a task costs, beside the dense ViT
* `report`, `gallery` : text, CSV and pictures
* `fourbit` : expert weights of four bits, simulated
"""

# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Builds m3vit.bit and m3vit.hwh of the board in whose folder make runs.

VITIS_HLS ?= vitis_hls
VIVADO    ?= vivado
COMMON    := ../common
SOURCES   := $(wildcard ../../hls_src/*.cpp ../../hls_src/*.h ../../hls_src/generated/*.h ../../hls_src/generated/boards/*.h)

.PHONY: all ip clean

all: m3vit.bit

ip: build/ip.zip

build/ip.zip: $(SOURCES) board.tcl $(COMMON)/hls.tcl
	@command -v $(VITIS_HLS) >/dev/null || { echo "$(VITIS_HLS) not found: source the settings64.sh of Vitis HLS 2022.2 or later" >&2; exit 1; }
	mkdir -p build
	$(VITIS_HLS) -f $(COMMON)/hls.tcl -l build/vitis_hls.log

m3vit.bit: build/ip.zip board.tcl $(wildcard $(COMMON)/*.tcl)
	@command -v $(VIVADO) >/dev/null || { echo "$(VIVADO) not found: source the settings64.sh of Vivado 2022.2 or later" >&2; exit 1; }
	$(VIVADO) -mode batch -source $(COMMON)/block_design.tcl -log build/vivado.log -journal build/vivado.jou

clean:
	rm -rf build .Xil

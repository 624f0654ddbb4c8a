# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Vitis HLS: from hls_src to an IP for the block design.
#
#   vitis_hls -f ../common/hls.tcl      in the folder of a board

source board.tcl
set sources [file normalize ../../hls_src]

open_project -reset build/hls
set_top m3vit_accel
add_files $sources/m3vit_accel.cpp \
    -cflags "-std=c++14 -I$sources -D$board(macro)"

open_solution -reset -flow_target vivado solution
set_part $board(part)
create_clock -period [format %.3f [expr {1000.0 / $board(clock_mhz)}]] -name clock

# The register map of m3vit_pynq/abi/registers.py counts on 64-bit addresses. Ports have
# the width of the processing system's: nothing is widened.
config_interface -m_axi_addr64=true
config_interface -m_axi_max_widen_bitwidth 0

csynth_design
export_design -format ip_catalog -output build/ip.zip \
    -vendor m3vit-pynq -library hls -ipname m3vit_accel -version 1.0 \
    -display_name "M3ViT accelerator"
exit

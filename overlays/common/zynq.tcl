# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Zynq-7000: four HP ports of 64 bit. Without board files DDR and FIXED_IO are made external
# all the same: the processing system cannot do without them.

if {[llength $board_parts]} {
    apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 \
        -config {make_external "FIXED_IO, DDR" apply_board_preset 1} $ps
} else {
    foreach interface {DDR FIXED_IO} {
        make_bd_intf_pins_external -name $interface [get_bd_intf_pins $ps/$interface]
    }
}
set_property -dict [list \
    CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ $board(clock_mhz) \
    CONFIG.PCW_USE_FABRIC_INTERRUPT 1 CONFIG.PCW_IRQ_F2P_INTR 1 \
    CONFIG.PCW_USE_M_AXI_GP0 1 \
    CONFIG.PCW_USE_S_AXI_HP0 1 CONFIG.PCW_S_AXI_HP0_DATA_WIDTH 64 \
    CONFIG.PCW_USE_S_AXI_HP1 1 CONFIG.PCW_S_AXI_HP1_DATA_WIDTH 64 \
    CONFIG.PCW_USE_S_AXI_HP2 1 CONFIG.PCW_S_AXI_HP2_DATA_WIDTH 64 \
    CONFIG.PCW_USE_S_AXI_HP3 1 CONFIG.PCW_S_AXI_HP3_DATA_WIDTH 64 \
] $ps

set clock [get_bd_pins $ps/FCLK_CLK0]
set resetn [get_bd_pins $ps/FCLK_RESET0_N]
set irq_pin [get_bd_pins $ps/IRQ_F2P]
set control_master [get_bd_intf_pins $ps/M_AXI_GP0]
connect_bd_net $clock [get_bd_pins $ps/M_AXI_GP0_ACLK]
foreach port [dict keys $board(memory)] {
    connect_bd_net $clock [get_bd_pins $ps/S_AXI_${port}_ACLK]
}
proc memory_port {port} {
    global ps
    return [get_bd_intf_pins $ps/S_AXI_$port]
}

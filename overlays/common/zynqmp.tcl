# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Zynq UltraScale+: HP0 to HP3, HPC0 and HPC1 of 128 bit.

if {[llength $board_parts]} {
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset 1} $ps
}
set_property -dict [list \
    CONFIG.PSU__FPGA_PL0_ENABLE 1 \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__SRCSEL $board(clock_source) \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ $board(clock_mhz) \
    CONFIG.PSU__USE__IRQ0 1 \
    CONFIG.PSU__USE__M_AXI_GP0 1 CONFIG.PSU__USE__M_AXI_GP1 0 CONFIG.PSU__USE__M_AXI_GP2 0 \
    CONFIG.PSU__USE__S_AXI_GP0 1 CONFIG.PSU__SAXIGP0__DATA_WIDTH 128 \
    CONFIG.PSU__USE__S_AXI_GP1 1 CONFIG.PSU__SAXIGP1__DATA_WIDTH 128 \
    CONFIG.PSU__USE__S_AXI_GP2 1 CONFIG.PSU__SAXIGP2__DATA_WIDTH 128 \
    CONFIG.PSU__USE__S_AXI_GP3 1 CONFIG.PSU__SAXIGP3__DATA_WIDTH 128 \
    CONFIG.PSU__USE__S_AXI_GP4 1 CONFIG.PSU__SAXIGP4__DATA_WIDTH 128 \
    CONFIG.PSU__USE__S_AXI_GP5 1 CONFIG.PSU__SAXIGP5__DATA_WIDTH 128 \
] $ps

set clock [get_bd_pins $ps/pl_clk0]
set resetn [get_bd_pins $ps/pl_resetn0]
set irq_pin [get_bd_pins $ps/pl_ps_irq0]
set control_master [get_bd_intf_pins $ps/M_AXI_HPM0_FPD]
connect_bd_net $clock [get_bd_pins $ps/maxihpm0_fpd_aclk]
foreach port [dict keys $board(memory)] {
    connect_bd_net $clock [get_bd_pins $ps/saxi[string tolower $port]_fpd_aclk]
}
proc memory_port {port} {
    global ps
    return [get_bd_intf_pins $ps/S_AXI_${port}_FPD]
}

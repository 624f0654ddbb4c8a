# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Vivado: block design, bitstream and .hwh of one board.
#
#   vivado -mode batch -source ../common/block_design.tcl      in its folder
#
#   processing system --- AXI-Lite ---> m3vit_accel, axi_intc
#   m3vit_accel --- SmartConnects ---> DRAM: which AXI masters share a memory port
#                                      is in board.tcl, from m3vit_pynq/abi/hwh.py
#   m3vit_accel.interrupt -> axi_intc -> processing system

source board.tcl
set jobs 4

create_project -force m3vit build/vivado -part $board(part)
# The board files are optional: PYNQ's boot loader has set the DDR up already.
set board_parts [get_board_parts -quiet -latest_file_version "*:$board(board_files):part0:*"]
if {[llength $board_parts]} {
    set_property board_part [lindex $board_parts 0] [current_project]
}
file mkdir build/ip
exec unzip -o -q build/ip.zip -d build/ip
set_property ip_repo_paths [file normalize build/ip] [current_project]
update_ip_catalog

create_bd_design m3vit
set accelerator [create_bd_cell -type ip -vlnv $board(accelerator_vlnv) $board(accelerator_instance)]
set intc [create_bd_cell -type ip -vlnv $board(intc_vlnv) $board(intc_instance)]
# Level-sensitive, active high: the accelerator holds its line until it is cleared.
set_property -dict {CONFIG.C_IRQ_CONNECTION 1 CONFIG.C_KIND_OF_INTR.VALUE_SRC USER
    CONFIG.C_KIND_OF_INTR 0xFFFFFFFE} $intc
set ps [create_bd_cell -type ip -vlnv $board(ps_vlnv) $board(ps_instance)]

source ../common/$board(family).tcl

# Clock and reset of everything.
set reset [create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset_0]
connect_bd_net $clock [get_bd_pins $reset/slowest_sync_clk]
connect_bd_net $resetn [get_bd_pins $reset/ext_reset_in]
set aresetn [get_bd_pins $reset/peripheral_aresetn]

proc smartconnect {name slaves masters} {
    global clock aresetn
    set cell [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect $name]
    set_property -dict [list CONFIG.NUM_SI $slaves CONFIG.NUM_MI $masters] $cell
    connect_bd_net $clock [get_bd_pins $cell/aclk]
    connect_bd_net $aresetn [get_bd_pins $cell/aresetn]
    return $cell
}

# Registers.
set control [smartconnect control_0 1 2]
connect_bd_intf_net $control_master [get_bd_intf_pins $control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins $control/M00_AXI] [get_bd_intf_pins $accelerator/s_axi_control]
connect_bd_intf_net [get_bd_intf_pins $control/M01_AXI] [get_bd_intf_pins $intc/s_axi]
connect_bd_net $clock [get_bd_pins $accelerator/ap_clk] [get_bd_pins $intc/s_axi_aclk]
connect_bd_net $aresetn [get_bd_pins $accelerator/ap_rst_n] [get_bd_pins $intc/s_axi_aresetn]

# Memory: the masters of a port share a SmartConnect.
foreach {port masters} $board(memory) {
    set cell [smartconnect memory_[string tolower $port] [llength $masters] 1]
    set index 0
    foreach master $masters {
        connect_bd_intf_net [get_bd_intf_pins $accelerator/m_axi_$master] \
            [get_bd_intf_pins $cell/[format S%02d_AXI $index]]
        incr index
    }
    connect_bd_intf_net [get_bd_intf_pins $cell/M00_AXI] [memory_port $port]
}

# Interrupt: PYNQ finds it only behind an axi_intc.
connect_bd_net [get_bd_pins $accelerator/interrupt] [get_bd_pins $intc/intr]
connect_bd_net [get_bd_pins $intc/irq] $irq_pin

# Addresses as in m3vit_pynq/abi/hwh.py, before everything else gets one.
assign_bd_address -offset $board(accelerator_base) -range $board(accelerator_range) \
    [get_bd_addr_segs $accelerator/s_axi_control/Reg]
assign_bd_address -offset $board(intc_base) -range $board(intc_range) \
    [get_bd_addr_segs $intc/S_AXI/Reg]
assign_bd_address

validate_bd_design
save_bd_design
make_wrapper -files [get_files m3vit.bd] -top -import
set_property top m3vit_wrapper [current_fileset]

launch_runs impl_1 -to_step write_bitstream -jobs $jobs
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} {
    error "implementation failed: see build/vivado/m3vit.runs/impl_1/runme.log"
}
open_run impl_1
report_timing_summary -file build/timing.rpt
report_utilization -hierarchical -file build/utilization.rpt
foreach {check delay} {setup max hold min} {
    set slack [get_property SLACK [get_timing_paths -max_paths 1 -delay_type $delay]]
    if {$slack < 0} {
        error "$check is not met at $board(clock_mhz) MHz (slack $slack ns): see build/timing.rpt"
    }
}

# Both files only after everything has succeeded.
set handoff [lindex [glob build/vivado/m3vit.gen/sources_1/bd/m3vit/hw_handoff/m3vit.hwh] 0]
file copy -force $handoff m3vit.hwh
file copy -force build/vivado/m3vit.runs/impl_1/m3vit_wrapper.bit m3vit.bit
exit

# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Vivado: block design, bitstream and .hwh of one board.
#
#   vivado -mode batch -source ../common/block_design.tcl      in its folder
#
#   processing system --- AXI-Lite ---> m3vit_accel, axi_intc
#   m3vit_accel ------- 128 bit -----> DRAM: one port for each quarter of the
#                                      weights, one for frames and results
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

# Memory: weight port i to memory port i, frames and results to the last.
for {set port 0} {$port < $board(weight_ports)} {incr port} {
    set shared [expr {$port == $board(weight_ports) - 1 && [llength $memory_ports] == $board(weight_ports)}]
    set cell [smartconnect memory_$port [expr {$shared ? 3 : 1}] 1]
    connect_bd_intf_net [get_bd_intf_pins $accelerator/m_axi_weights$port] \
        [get_bd_intf_pins $cell/S00_AXI]
    connect_bd_intf_net [get_bd_intf_pins $cell/M00_AXI] [lindex $memory_ports $port]
}
if {!$shared} {
    set cell [smartconnect memory_$port 2 1]
    connect_bd_intf_net [get_bd_intf_pins $cell/M00_AXI] [lindex $memory_ports $port]
}
set first [expr {$shared ? 1 : 0}]
foreach bundle {frame output} {
    connect_bd_intf_net [get_bd_intf_pins $accelerator/m_axi_$bundle] \
        [get_bd_intf_pins $cell/S0${first}_AXI]
    incr first
}

# Interrupt: PYNQ finds it only behind an axi_intc.
connect_bd_net [get_bd_pins $accelerator/interrupt] [get_bd_pins $intc/intr]
connect_bd_net [get_bd_pins $intc/irq] $irq_pin

# Addresses as in m3vit_pynq/abi/hwh.py.
assign_bd_address
set_property offset $board(accelerator_base) [get_bd_addr_segs $ps/Data/SEG_$board(accelerator_instance)_Reg]
set_property range $board(accelerator_range) [get_bd_addr_segs $ps/Data/SEG_$board(accelerator_instance)_Reg]
set_property offset $board(intc_base) [get_bd_addr_segs $ps/Data/SEG_$board(intc_instance)_Reg]
set_property range $board(intc_range) [get_bd_addr_segs $ps/Data/SEG_$board(intc_instance)_Reg]

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
set slack [get_property SLACK [get_timing_paths -max_paths 1]]
if {$slack < 0} {
    error "timing is not met at $board(clock_mhz) MHz (slack $slack ns): see build/timing.rpt"
}

# Both files only after everything has succeeded.
set handoff [lindex [glob build/vivado/m3vit.gen/sources_1/bd/m3vit/hw_handoff/m3vit.hwh] 0]
file copy -force $handoff m3vit.hwh
file copy -force build/vivado/m3vit.runs/impl_1/m3vit_wrapper.bit m3vit.bit
exit

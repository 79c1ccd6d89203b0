package abi

import (
	"testing"
	"unsafe"
)

// TestIOUringLayout compares sizes and offsets with those a C compiler gives
// for the headers of Linux 7.3.
func TestIOUringLayout(t *testing.T) {
	var (
		sqe    IOUringSQE
		params IOUringParams
		sq     IOSQRingOffsets
		cq     IOCQRingOffsets
		wait   IOUringGeteventsArg
		update IOUringRsrcUpdate
		probe  IOUringProbe
		op     IOUringProbeOp
		napi   IOUringNAPI
		buf    IOUringBuf
		reg    IOUringBufReg
		region IOUringRegionDesc
		hdr    IOUringQueryHdr
		ops    IOUringQueryOpcode
		qz     IOUringQueryZCRX
		qe     IOUringQueryZCRXEvent
		area   IOUringZCRXAreaReg
		ifq    IOUringZCRXIfqReg
		event  ZCRXEventDesc
		ctrl   ZCRXCtrl
		add    ZCRXCtrlAddArea
	)
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"io_uring_sqe", unsafe.Sizeof(sqe), 64},
		{"io_uring_sqe.len", unsafe.Offsetof(sqe.Len), 24},
		{"io_uring_sqe.msg_flags", unsafe.Offsetof(sqe.OpFlags), 28},
		{"io_uring_sqe.user_data", unsafe.Offsetof(sqe.UserData), 32},
		{"io_uring_sqe.buf_index", unsafe.Offsetof(sqe.BufIndex), 40},
		{"io_uring_sqe.zcrx_ifq_idx", unsafe.Offsetof(sqe.FileIndex), 44},
		{"io_uring_sqe.addr3", unsafe.Offsetof(sqe.Addr3), 48},
		{"io_uring_cqe", unsafe.Sizeof(IOUringCQE{}), 16},
		{"io_uring_params", unsafe.Sizeof(params), 120},
		{"io_uring_params.features", unsafe.Offsetof(params.Features), 20},
		{"io_uring_params.sq_off", unsafe.Offsetof(params.SQOff), 40},
		{"io_uring_params.cq_off", unsafe.Offsetof(params.CQOff), 80},
		{"io_sqring_offsets", unsafe.Sizeof(sq), 40},
		{"io_sqring_offsets.array", unsafe.Offsetof(sq.Array), 24},
		{"io_cqring_offsets", unsafe.Sizeof(cq), 40},
		{"io_cqring_offsets.overflow", unsafe.Offsetof(cq.Overflow), 16},
		{"io_cqring_offsets.cqes", unsafe.Offsetof(cq.CQEs), 20},
		{"__kernel_timespec", unsafe.Sizeof(KernelTimespec{}), 16},
		{"io_uring_getevents_arg", unsafe.Sizeof(wait), 24},
		{"io_uring_getevents_arg.min_wait_usec", unsafe.Offsetof(wait.MinWaitUsec), 12},
		{"io_uring_getevents_arg.ts", unsafe.Offsetof(wait.Timespec), 16},
		{"io_uring_rsrc_update", unsafe.Sizeof(update), 16},
		{"io_uring_rsrc_update.data", unsafe.Offsetof(update.Data), 8},
		{"io_uring_probe.ops", unsafe.Offsetof(probe.Ops), 16},
		{"io_uring_probe_op", unsafe.Sizeof(op), 8},
		{"io_uring_probe_op.flags", unsafe.Offsetof(op.Flags), 2},
		{"io_uring_napi", unsafe.Sizeof(napi), 16},
		{"io_uring_napi.op_param", unsafe.Offsetof(napi.OpParam), 8},
		{"io_uring_buf", unsafe.Sizeof(buf), 16},
		{"io_uring_buf.bid", unsafe.Offsetof(buf.BID), 12},
		{"io_uring_buf_ring.tail", unsafe.Offsetof(buf.Tail), 14},
		{"io_uring_buf_reg", unsafe.Sizeof(reg), 40},
		{"io_uring_buf_reg.bgid", unsafe.Offsetof(reg.BGID), 12},
		{"io_uring_region_desc", unsafe.Sizeof(region), 64},
		{"io_uring_region_desc.mmap_offset", unsafe.Offsetof(region.MmapOffset), 24},
		{"io_uring_query_hdr", unsafe.Sizeof(hdr), 40},
		{"io_uring_query_hdr.result", unsafe.Offsetof(hdr.Result), 24},
		{"io_uring_query_opcode", unsafe.Sizeof(ops), 48},
		{"io_uring_query_opcode.nr_query_opcodes", unsafe.Offsetof(ops.NrQueryOpcodes), 40},
		{"io_uring_query_zcrx", unsafe.Sizeof(qz), 40},
		{"io_uring_query_zcrx.features", unsafe.Offsetof(qz.Features), 20},
		{"io_uring_query_zcrx_event", unsafe.Sizeof(qe), 48},
		{"io_uring_query_zcrx_event.stats_size", unsafe.Offsetof(qe.StatsSize), 4},
		{"io_uring_zcrx_rqe", unsafe.Sizeof(IOUringZCRXRQE{}), 16},
		{"io_uring_zcrx_cqe", unsafe.Sizeof(IOUringZCRXCQE{}), 16},
		{"io_uring_zcrx_offsets", unsafe.Sizeof(IOUringZCRXOffsets{}), 32},
		{"io_uring_zcrx_area_reg", unsafe.Sizeof(area), 48},
		{"io_uring_zcrx_area_reg.rq_area_token", unsafe.Offsetof(area.RQAreaToken), 16},
		{"io_uring_zcrx_area_reg.dmabuf_fd", unsafe.Offsetof(area.DMABufFD), 28},
		{"io_uring_zcrx_ifq_reg", unsafe.Sizeof(ifq), 96},
		{"io_uring_zcrx_ifq_reg.offsets", unsafe.Offsetof(ifq.Offsets), 32},
		{"io_uring_zcrx_ifq_reg.zcrx_id", unsafe.Offsetof(ifq.ZCRXID), 64},
		{"io_uring_zcrx_ifq_reg.event_desc", unsafe.Offsetof(ifq.EventDesc), 72},
		{"zcrx_event_desc", unsafe.Sizeof(event), 96},
		{"zcrx_event_desc.stats_offset", unsafe.Offsetof(event.StatsOffset), 16},
		{"zcrx_stats", unsafe.Sizeof(ZCRXStats{}), 16},
		{"zcrx_ctrl", unsafe.Sizeof(ctrl), 72},
		{"zcrx_ctrl.zc_export", unsafe.Offsetof(ctrl.Arg), 24},
		{"zcrx_ctrl", unsafe.Sizeof(add), 72},
		{"zcrx_ctrl.zc_area", unsafe.Offsetof(add.AreaPtr), 24},
	} {
		if c.got != c.want {
			t.Errorf("%s is at or of %d bytes, want %d", c.what, c.got, c.want)
		}
	}
}

package packet_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

func BenchmarkParse(b *testing.B) {
	for _, c := range samples() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var h packet.Headers
			for b.Loop() {
				h.Parse(c.frame)
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	var h packet.Headers
	h.Parse(tcp4.Bytes())
	b.ReportAllocs()
	var sink packet.Key
	for b.Loop() {
		sink = h.EgressKey(7)
	}
	_ = sink
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 64, 576, 1460, 8961, 65535} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) {
			data := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				packet.Checksum(data, 0)
			}
		})
	}
}

func BenchmarkSplit(b *testing.B) {
	for _, c := range superFrames() {
		b.Run(c.name, func(b *testing.B) {
			var h packet.Headers
			h.Parse(c.frame)
			scratch := make([]byte, packet.SplitLen(&h, c.gso))
			b.SetBytes(int64(len(c.frame)))
			b.ReportAllocs()
			for b.Loop() {
				packet.Split(c.frame, &h, c.gso, scratch, func([]byte) bool { return true })
			}
		})
	}
}

func BenchmarkCompleteChecksum(b *testing.B) {
	t := tcp4
	t.Payload = make([]byte, 1448)
	frame, g := packettest.Offload(t.Bytes(), 0)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		packet.CompleteChecksum(frame, g)
	}
}

func BenchmarkEchoReply(b *testing.B) {
	request := packettest.Ping(netip.MustParseAddr("10.0.1.5"), netip.MustParseAddr("10.0.1.1"), 1, 1).Bytes()
	frame := make([]byte, len(request))
	var h packet.Headers
	b.ReportAllocs()
	for b.Loop() {
		copy(frame, request)
		h.Parse(frame)
		packet.EchoReply(frame, &h)
	}
}

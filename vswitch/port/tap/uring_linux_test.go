package tap

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vswitch"
)

// sniff opens a packet socket on a device of the namespace; it sees what the kernel receives from the TAP.
func (s *space) sniff(device string) int {
	s.t.Helper()
	fd := -1
	s.do(func() error {
		ifi, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		all := networkOrder(unix.ETH_P_ALL)
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(int64(2 * time.Second))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index})
	})
	s.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// networkOrder gives a number as it stands in a packet.
func networkOrder(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}

// TestWriteBatch: a batch arrives whole and in order, by io_uring and by plain writes, also what comes in pieces.
func TestWriteBatch(t *testing.T) {
	needsRoot(t)
	for name, plain := range map[string]bool{"io_uring": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t)
			p := s.open(Config{Device: "t0", PlainWrites: plain}, "10.9.0.1/24")
			if io := p.IO(); plain != (io == "write (as asked for)") {
				t.Errorf("IO is %q", io)
			}
			fd := s.sniff("t0")
			for round := range 3 { // more than a ring holds
				frames, want := batchOfFrames(50, round)
				if n := p.Write(0, frames); n != len(frames) {
					t.Fatalf("%d of %d frames taken; %+v", n, len(frames), p.Stats())
				}
				for i := range want {
					if got := receive(t, fd); !bytes.Equal(got, want[i]) {
						t.Fatalf("round %d, frame %d\n%x\nwant\n%x", round, i, got, want[i])
					}
				}
			}
		})
	}
}

// batchOfFrames makes UDP datagrams, every third in pieces, and what should arrive.
func batchOfFrames(n, round int) (frames []*vswitch.Frame, want [][]byte) {
	for i := range n {
		b := packettest.UDP{
			Src: netip.MustParseAddrPort("10.9.0.2:1000"), Dst: netip.MustParseAddrPort("10.9.0.1:2000"),
			Payload: bytes.Repeat([]byte{byte(i), byte(round)}, 60+i),
		}.Bytes()
		want = append(want, append([]byte(nil), b...))
		f := &vswitch.Frame{Buf: b}
		if i%3 == 0 {
			f.Buf, f.Tail = b[:60:60], [][]byte{b[60:61], b[61:100], b[100:]}
		}
		frames = append(frames, f)
	}
	return frames, want
}

// receive reads the next IPv4 frame.
func receive(t *testing.T, fd int) []byte {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			t.Fatalf("nothing arrives: %v", err)
		}
		var h packet.Headers
		h.Parse(buf[:n])
		if h.Kind == packet.IPv4 && h.Proto == packet.ProtoUDP {
			return append([]byte(nil), buf[:n]...)
		}
	}
}

// TestWriteRingTellsWhatWasNotTaken: of a device that is down, nothing is; a frame that the kernel finds
// invalid does not keep back those after it.
func TestWriteRingTellsWhatWasNotTaken(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	p := s.open(Config{Device: "t0"}, "10.9.0.1/24")
	frames, _ := batchOfFrames(4, 0)
	frames[1] = &vswitch.Frame{Buf: frames[1].Buf, GSO: packet.GSO{Type: packet.GSOUDP}} // without a segment size
	if n := p.Write(0, frames); n != 4 || p.Stats().Refused != 1 {
		t.Errorf("%d taken, %+v", n, p.Stats())
	}
	if n := p.Write(0, []*vswitch.Frame{frames[0], {Buf: nil}, frames[2]}); n != 3 || p.Stats().Refused != 2 {
		t.Errorf("%d taken, %+v", n, p.Stats())
	}
}

// TestWriteAllocations: a batch is written without allocating.
func TestWriteAllocations(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	p := s.open(Config{Device: "t0"}, "10.9.0.1/24")
	frames, _ := batchOfFrames(32, 0)
	p.Write(0, frames)
	if n := testing.AllocsPerRun(50, func() { p.Write(0, frames) }); n > 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

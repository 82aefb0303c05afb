package netstack_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/netstack"
	"github.com/vpclab/vpclab/vswitch/port/porttest"
)

var (
	ourMAC   = packet.MAC{2, 0, 0, 0, 0, 1}
	theirMAC = packet.MAC{2, 0, 0, 0, 0, 2}
)

// dispatcher records what the link delivers to the stack.
type dispatcher struct{ got chan string }

func (d *dispatcher) DeliverNetworkPacket(proto tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	d.got <- fmt.Sprintf("%04x %d %s", proto, pkt.PktType, pkt.Data().AsRange().ToSlice())
}

func (*dispatcher) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}

func frameTo(dst packet.MAC, payload string) *vswitch.Frame {
	return &vswitch.Frame{Buf: packettest.Ethernet(theirMAC, dst, 0x0800, []byte(payload))}
}

func TestPortDescribesItself(t *testing.T) {
	p := netstack.New(netstack.Config{Name: "db-1", MAC: ourMAC})
	defer p.Close()
	if p.Name() != "db-1" || p.MTU() != 9001 || p.Queues() != 1 || p.Offload() != (vswitch.Offload{}) {
		t.Fatalf("%q, %d, %d, %+v", p.Name(), p.MTU(), p.Queues(), p.Offload())
	}
	e := p.Endpoint()
	if e.MTU() != 9001 || e.LinkAddress() != tcpip.LinkAddress(ourMAC[:]) || e.MaxHeaderLength() != 14 ||
		e.Capabilities() != stack.CapabilityResolutionRequired || e.ARPHardwareType() != header.ARPHardwareEther || e.IsAttached() {
		t.Fatalf("%d, %x, %d, %v, %v, %v", e.MTU(), e.LinkAddress(), e.MaxHeaderLength(), e.Capabilities(), e.ARPHardwareType(), e.IsAttached())
	}
	e.SetMTU(1500)
	e.SetLinkAddress("abcdef")
	if e.MTU() != 1500 || e.LinkAddress() != "abcdef" {
		t.Fatalf("%d, %q", e.MTU(), e.LinkAddress())
	}
}

func TestWriteDelivers(t *testing.T) {
	p := netstack.New(netstack.Config{MAC: ourMAC, MTU: 100})
	d := &dispatcher{got: make(chan string, 16)}
	p.Endpoint().Attach(d)
	frames := []*vswitch.Frame{
		frameTo(ourMAC, "unicast"),
		frameTo(packet.MAC{255, 255, 255, 255, 255, 255}, "broadcast"),
		frameTo(packet.MAC{0x33, 0x33, 0, 0, 0, 1}, "multicast"),
		frameTo(theirMAC, "other station"),
		{Buf: make([]byte, 13)},
		frameTo(ourMAC, string(make([]byte, 101))),
		{Buf: frameTo(ourMAC, "checksum").Buf, GSO: packet.GSO{NeedsCsum: true}},
		{Buf: frameTo(ourMAC, "super").Buf, GSO: packet.GSO{Type: packet.GSOTCP4}},
		frameTo(ourMAC, "last"),
	}
	if n := p.Write(0, frames); n != len(frames) {
		t.Fatalf("took %d", n)
	}
	clear(frames[0].Buf) // borrowed only until Write returns
	for _, want := range []string{
		fmt.Sprintf("0800 %d unicast", tcpip.PacketHost),
		fmt.Sprintf("0800 %d broadcast", tcpip.PacketBroadcast),
		fmt.Sprintf("0800 %d multicast", tcpip.PacketMulticast),
		fmt.Sprintf("0800 %d last", tcpip.PacketHost),
	} {
		if got := <-d.got; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if s := p.Stats(); s != (netstack.Stats{Refused: 4, NotForUs: 1}) {
		t.Fatalf("%+v", s)
	}
	p.Close()
	p.Endpoint().Wait()
	if n := p.Write(0, frames); n != 0 {
		t.Fatalf("a closed port took %d", n)
	}
}

func TestWriteIsBounded(t *testing.T) {
	p := netstack.New(netstack.Config{MAC: ourMAC, Depth: 4}) // no stack takes anything
	defer p.Close()
	var frames []*vswitch.Frame
	for range 6 {
		frames = append(frames, frameTo(ourMAC, "x"))
	}
	if n := p.Write(0, frames); n != 4 {
		t.Fatalf("took %d", n)
	}
	if n := p.Write(0, frames[:1]); n != 0 {
		t.Fatalf("took %d", n)
	}
	if s := p.Stats(); s != (netstack.Stats{}) {
		t.Fatalf("%+v", s)
	}
}

// outbound makes a packet as the stack does: headers and data in several pieces.
func outbound(text string) *stack.PacketBuffer {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: 14 + 4, Payload: buffer.MakeWithData([]byte(text))})
	copy(pkt.NetworkHeader().Push(4), "net:")
	pkt.NetworkProtocolNumber = 0x0800
	pkt.EgressRoute.LocalLinkAddress = tcpip.LinkAddress(ourMAC[:])
	pkt.EgressRoute.RemoteLinkAddress = tcpip.LinkAddress(theirMAC[:])
	return pkt
}

// TestSendersWait fills the queue: the sender waits, and nothing is lost or reordered.
func TestSendersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := netstack.New(netstack.Config{MAC: ourMAC, Depth: 4})
		e := p.Endpoint()
		const total = 100
		sent := make(chan int, 1)
		go func() {
			n := 0
			for i := range total {
				pkt := outbound(fmt.Sprint(i))
				e.AddHeader(pkt)
				var list stack.PacketBufferList
				list.PushBack(pkt)
				done, _ := e.WritePackets(list)
				n += done
				list.Reset()
			}
			sent <- n
		}()
		var b vswitch.Batch
		for i := 0; i < total; {
			synctest.Wait()
			if len(sent) > 0 && i < total-4 {
				t.Fatal("the sender did not wait")
			}
			if err := p.Read(0, &b); err != nil {
				t.Fatal(err)
			}
			for j := range b.Len() {
				want := packettest.Ethernet(ourMAC, theirMAC, 0x0800, fmt.Appendf(nil, "net:%d", i))
				if got := b.Frame(j); !bytes.Equal(got.Buf, want) || got.GSO != (packet.GSO{}) {
					t.Fatalf("frame %d: %q, want %q", i, got.Buf, want)
				}
				i++
			}
			b.Release()
		}
		if n := <-sent; n != total {
			t.Fatalf("sent %d", n)
		}
		if p.TryRead(&b) != 0 {
			t.Fatal("more frames")
		}
	})
}

func TestCloseWakes(t *testing.T) {
	for name, shut := range map[string]func(p *netstack.Port){
		"port":  func(p *netstack.Port) { p.Close(); p.Close() },
		"stack": func(p *netstack.Port) { p.Endpoint().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reading, sending := netstack.New(netstack.Config{}), netstack.New(netstack.Config{Depth: 1})
				read, write := make(chan error), make(chan string)
				go func() { read <- reading.Read(0, new(vswitch.Batch)) }()
				go func() {
					var list stack.PacketBufferList
					for range 3 {
						list.PushBack(outbound("x"))
					}
					n, err := sending.Endpoint().WritePackets(list)
					write <- fmt.Sprint(n, err)
				}()
				synctest.Wait()
				shut(reading)
				shut(sending)
				if err := <-read; !errors.Is(err, net.ErrClosed) {
					t.Fatal(err)
				}
				if got, want := <-write, fmt.Sprint(1, &tcpip.ErrClosedForSend{}); got != want {
					t.Fatalf("%s, want %s", got, want)
				}
			})
		})
	}
}

func TestOnCloseAction(t *testing.T) {
	p := netstack.New(netstack.Config{})
	n := 0
	p.Endpoint().SetOnCloseAction(func() { n++ })
	p.Endpoint().Close()
	p.Endpoint().Close()
	if n != 1 {
		t.Fatalf("run %d times", n)
	}
}

func newStack(t *testing.T, p *netstack.Port, addr string) *stack.Stack {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	if err := s.CreateNIC(1, p.Endpoint()); err != nil {
		t.Fatal(err)
	}
	with := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(net.ParseIP(addr).To4()), PrefixLen: 24}
	if err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: with}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	s.AddRoute(tcpip.Route{Destination: with.Subnet(), NIC: 1})
	return s
}

// TestTwoStacks has real TCP over a small queue: neighbours are resolved and all bytes arrive.
func TestTwoStacks(t *testing.T) {
	a := netstack.New(netstack.Config{Name: "a", MAC: ourMAC, MTU: 1500, Depth: 64})
	b := netstack.New(netstack.Config{Name: "b", MAC: theirMAC, MTU: 1500, Depth: 64})
	sa, sb := newStack(t, a, "10.9.0.1"), newStack(t, b, "10.9.0.2")
	cable := porttest.Connect(t, a, b)
	cable.SetFilter(func(_ vswitch.Port, f *vswitch.Frame) bool {
		var h packet.Headers
		if h.Parse(f.Buf); h.Kind == packet.ARP {
			return true
		}
		if err := packettest.Check(f.Buf); err != nil {
			t.Error(err)
		}
		return true
	})
	defer func() { cable.Close(); sa.Destroy(); sb.Destroy() }()
	at := tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFromSlice([]byte{10, 9, 0, 2}), Port: 80}
	l, err := gonet.ListenTCP(sb, at, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		h := sha256.New()
		n, err := io.Copy(h, c)
		c.Close()
		got <- fmt.Sprintf("%d %x %v", n, h.Sum(nil), err)
	}()
	c, err := gonet.DialTCP(sa, at, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case sum := <-got:
		if want := fmt.Sprintf("%d %x %v", len(data), sha256.Sum256(data), nil); sum != want {
			t.Fatalf("%s, want %s", sum, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the transfer does not end")
	}
}

func BenchmarkLink(b *testing.B) {
	b.Run("read", func(b *testing.B) {
		p := netstack.New(netstack.Config{Depth: 64})
		var list stack.PacketBufferList
		for range 32 {
			pkt := outbound(string(make([]byte, 1400)))
			p.Endpoint().AddHeader(pkt)
			list.PushBack(pkt)
		}
		var batch vswitch.Batch
		b.ReportAllocs()
		left := 0
		for b.Loop() {
			if left == 0 {
				p.Endpoint().WritePackets(list)
				batch.Reset()
				left = p.TryRead(&batch)
			}
			left--
		}
	})
	b.Run("write", func(b *testing.B) {
		p := netstack.New(netstack.Config{MAC: ourMAC})
		d := &sink{}
		p.Endpoint().Attach(d)
		frames := []*vswitch.Frame{frameTo(ourMAC, string(make([]byte, 1400)))}
		b.ReportAllocs()
		for b.Loop() {
			for p.Write(0, frames) == 0 {
			}
		}
		p.Close()
	})
}

type sink struct{ dispatcher }

func (*sink) DeliverNetworkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}

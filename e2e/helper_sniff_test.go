//go:build linux

package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sniff counts IPv4 packets that come in on eth0, from a packet socket: what the wire brings, before the instance's own
// kernel judges it. For each line that comes in it prints the counts so far, by "tcp 10.0.1.10 > 10.0.2.20:5432".
func sniff(in io.Reader, out io.Writer) error {
	const all = unix.ETH_P_IP
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{all >> 8, all & 0xff})))
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	var mu sync.Mutex
	counts := map[string]int{}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype == unix.PACKET_OUTGOING || ll.Hatype != unix.ARPHRD_ETHER {
				continue
			}
			mu.Lock()
			counts[packetName(buf[:n])]++
			mu.Unlock()
		}
	}()
	fmt.Fprintln(out, "sniffing")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		time.Sleep(50 * time.Millisecond) // what has come in is read by then
		mu.Lock()
		now := maps.Clone(counts)
		mu.Unlock()
		if err := say(out, now); err != nil {
			return err
		}
	}
	return nil
}

// packetName says of an IPv4 packet who sent it what.
func packetName(p []byte) string {
	if len(p) < 20 || len(p) < int(p[0]&15)*4+8 {
		return "short"
	}
	src, dst := netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	l4 := p[int(p[0]&15)*4:]
	switch p[9] {
	case unix.IPPROTO_TCP:
		return fmt.Sprintf("tcp %s > %s:%d", src, dst, binary.BigEndian.Uint16(l4[2:]))
	case unix.IPPROTO_UDP:
		return fmt.Sprintf("udp %s > %s:%d", src, dst, binary.BigEndian.Uint16(l4[2:]))
	case unix.IPPROTO_ICMP:
		return fmt.Sprintf("icmp %s > %s:%d", src, dst, l4[0])
	}
	return fmt.Sprintf("%d %s > %s", p[9], src, dst)
}

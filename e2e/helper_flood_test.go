//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// tally is what one end of a flood saw, with its kernel's own counters.
type tally struct {
	Packets uint64            `json:"packets"`
	Bytes   uint64            `json:"bytes"` // of payload
	Flows   int               `json:"flows,omitempty"`
	Kernel  map[string]uint64 `json:"kernel"`
}

// kernelCounters are the places where a kernel loses datagrams, and eth0's traffic.
func kernelCounters() (map[string]uint64, error) {
	all := map[string]uint64{}
	snmp, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(snmp)) {
		fields := strings.Fields(line)
		switch {
		case fields[0] != "Udp:":
		case names == nil:
			names = fields
		default:
			for i := 1; i < len(fields); i++ {
				n, err := strconv.ParseUint(fields[i], 10, 64)
				if err != nil {
					return nil, err
				}
				all[names[i]] = n
			}
		}
	}
	for _, name := range []string{"rx_packets", "rx_dropped", "tx_packets", "tx_dropped"} {
		if all[name], err = deviceCounter(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ports reads "FIRST COUNT".
func ports(first, count string) (from, n int, err error) {
	from, err = strconv.Atoi(first)
	if err == nil {
		n, err = strconv.Atoi(count)
	}
	return from, n, err
}

// sink binds so many UDP ports and counts what comes in, until a line comes in.
func sink(in io.Reader, out io.Writer, addr, first, count string) error {
	from, n, err := ports(first, count)
	if err != nil {
		return err
	}
	var packets, bytes, flows atomic.Uint64
	var reading sync.WaitGroup
	for port := from; port < from+n; port++ {
		c, err := net.ListenPacket("udp", net.JoinHostPort(addr, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		defer c.Close()
		reading.Go(func() {
			buf, senders := make([]byte, 2048), map[netip.AddrPort]bool{}
			for {
				got, from, err := c.(*net.UDPConn).ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				packets.Add(1)
				bytes.Add(uint64(got))
				if !senders[from] {
					senders[from] = true
					flows.Add(1)
				}
			}
		})
	}
	fmt.Fprintln(out, "sinking")
	bufio.NewReader(in).ReadString('\n')
	for last := uint64(0); packets.Load() != last; time.Sleep(200 * time.Millisecond) { // until it is quiet
		last = packets.Load()
	}
	kernel, err := kernelCounters()
	if err != nil {
		return err
	}
	return say(out, tally{packets.Load(), bytes.Load(), int(flows.Load()), kernel})
}

// flood sends a datagram from each of so many ports to each of so many, several times over, as fast as the switch takes
// them: ADDR FIRST-SOURCE SOURCES FIRST-DESTINATION DESTINATIONS ROUNDS.
func flood(out io.Writer, args []string) error {
	if len(args) != 6 {
		return errors.New("flood: six arguments are wanted")
	}
	to, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	var v [5]int
	for i, a := range args[1:] {
		if v[i], err = strconv.Atoi(a); err != nil {
			return err
		}
	}
	sources, err := bound(v[0], v[1])
	if err != nil {
		return err
	}
	sent := tally{Flows: v[1] * v[3]}
	for round := range v[4] {
		payload := make([]byte, 10+round)
		for _, fd := range sources {
			for port := v[2]; port < v[2]+v[3]; port++ {
				if sent.Packets%burst == 0 {
					if err := keepPace(sent.Packets); err != nil {
						return err
					}
				}
				if err := unix.Sendto(fd, payload, 0, &unix.SockaddrInet4{Port: port, Addr: to.As4()}); err != nil {
					return fmt.Errorf("after %d packets: %w", sent.Packets, err)
				}
				sent.Packets++
				sent.Bytes += uint64(len(payload))
			}
		}
	}
	if err := keepPace(sent.Packets + backlog); err != nil { // all of it has left
		return err
	}
	if sent.Kernel, err = kernelCounters(); err != nil {
		return err
	}
	return say(out, sent)
}

// bound gives sockets with one port each.
func bound(first, n int) ([]int, error) {
	fds := make([]int, n)
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: first + i}); err != nil {
			return nil, fmt.Errorf("port %d: %w", first+i, err)
		}
		fds[i] = fd
	}
	return fds, nil
}

// A TAP's queue holds 500 packets (TUN_READQ_SIZE, drivers/net/tun.c); what comes on top is lost.
const (
	burst   = 16
	backlog = 128
)

// keepPace waits until eth0 has handed all but a backlog of the packets on to the switch.
func keepPace(sent uint64) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		left := uint64(0)
		for _, name := range []string{"tx_packets", "tx_dropped"} {
			n, err := deviceCounter(name)
			if err != nil {
				return err
			}
			left += n
		}
		if left+backlog >= sent {
			return nil
		}
	}
	return errors.New("the switch has taken nothing for a minute")
}

func deviceCounter(name string) (uint64, error) {
	text, err := os.ReadFile("/sys/class/net/eth0/statistics/" + name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

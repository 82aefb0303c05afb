package vswitch_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/conntrack"
	"github.com/vpclab/vpclab/vswitch/port/memory"
)

// lab is a VPC with memory ports and real workers: subnet a, 10.0.1.0/24, and b, 10.0.2.0/24; groups client and server.
type lab struct {
	t     testing.TB
	clock *vswitch.ManualClock
	store *vpc.MemoryStore
	acc   *flowlogs.Aggregator
	sw    *vswitch.Switch
	names map[string]string
}

var labStart = time.Unix(1_700_000_040, 0)

func newLab(t testing.TB, records flowlogs.Config, table conntrack.Config) *lab {
	l := &lab{t: t, clock: vswitch.NewManualClock(labStart), names: map[string]string{}, store: vpc.NewMemoryStore(vpc.Config{Seed: 1})}
	records.Start = labStart.UnixNano()
	l.acc = flowlogs.NewAggregator(records)
	sw, err := vswitch.New(vswitch.Config{Clock: l.clock, Records: l.acc, Table: table})
	if err != nil {
		t.Fatal(err)
	}
	l.sw = sw
	t.Cleanup(func() { sw.Close() })
	l.update(func(tx *vpc.Tx) error {
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
		if err != nil {
			return err
		}
		for i, name := range []string{"a", "b"} {
			s, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: v.ID, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", i+1))})
			if err != nil {
				return err
			}
			l.names[name] = s.ID
		}
		for _, name := range []string{"client", "server"} {
			g, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{GroupName: name, Description: name, VPCID: v.ID})
			if err != nil {
				return err
			}
			l.names[name] = g.ID
		}
		return nil
	})
	return l
}

func (l *lab) update(fn func(*vpc.Tx) error) {
	l.t.Helper()
	if _, err := l.store.Update(context.Background(), fn); err != nil {
		l.t.Fatal(err)
	}
	l.sw.Apply(l.store.View())
}

// ingress adds a rule to group server, or takes it away.
func (l *lab) ingress(rule string, add bool) {
	l.t.Helper()
	ps, err := vpc.ParseRule(rule, vpc.Ingress, func(n string) (string, bool) { id, ok := l.names[n]; return id, ok })
	if err != nil {
		l.t.Fatal(err)
	}
	l.update(func(tx *vpc.Tx) (err error) {
		if add {
			_, err = tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: l.names["server"], Rules: []vpc.RuleSpec{{Permission: ps[0]}}})
		} else {
			_, err = tx.RevokeSecurityGroupIngress(vpc.RevokeSecurityGroupInput{GroupID: l.names["server"], Permissions: ps})
		}
		return err
	})
}

// node is an interface with a memory port.
type node struct {
	*memory.Port
	id       string
	addr     netip.Addr
	mac      packet.MAC
	got      atomic.Uint64 // packets that the sink took
	gotBytes atomic.Uint64 // of IP
	refused  atomic.Uint64
}

// sink counts what the switch delivers, and refuses the end of every n-th write.
func (n *node) sink(every uint64) func(int, []*vswitch.Frame) int {
	var writes atomic.Uint64
	return func(_ int, fs []*vswitch.Frame) int {
		taken := len(fs)
		if every != 0 && writes.Add(1)%every == 0 {
			taken /= 2
		}
		var bytes uint64
		for _, f := range fs[:taken] {
			bytes += uint64(len(f.Buf) - packet.EthernetLen)
		}
		n.got.Add(uint64(taken))
		n.gotBytes.Add(bytes)
		n.refused.Add(uint64(len(fs) - taken))
		return taken
	}
}

// node makes an interface; configure sets its port up before it is attached.
func (l *lab) node(group, address string, configure func(*node, *memory.Config)) *node {
	l.t.Helper()
	n := &node{addr: netip.MustParseAddr(address)}
	subnet := l.names["a"]
	if strings.HasPrefix(address, "10.0.2.") {
		subnet = l.names["b"]
	}
	var ni *vpc.NetworkInterface
	l.update(func(tx *vpc.Tx) (err error) {
		ni, err = tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: vpc.InterfaceSpec{
			SubnetID: subnet, Addresses: []netip.Addr{n.addr}, Groups: []string{l.names[group]}}})
		return err
	})
	n.id = ni.ID
	n.mac, _ = packet.ParseMAC(ni.MAC)
	cfg := memory.Config{Name: group + " " + address}
	if configure != nil {
		configure(n, &cfg)
	}
	n.Port = memory.New(cfg)
	return n
}

// attach plugs nodes in; their workers start.
func (l *lab) attach(nodes ...*node) {
	l.t.Helper()
	for _, n := range nodes {
		if err := l.sw.Attach(n.id, n.Port); err != nil {
			l.t.Fatal(err)
		}
	}
}

// settle waits until all that the nodes were given has gone through the switch.
func (l *lab) settle(nodes ...*node) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, n := range nodes {
		if err := n.Settle(ctx); err != nil {
			l.t.Fatal(err)
		}
	}
}

// udp is a datagram through the router.
func (n *node) udp(to *node, sport, dport uint16, payload []byte) []byte {
	return packettest.UDP{SrcMAC: n.mac, DstMAC: vswitch.RouterMAC,
		Src: netip.AddrPortFrom(n.addr, sport), Dst: netip.AddrPortFrom(to.addr, dport), Payload: payload}.Bytes()
}

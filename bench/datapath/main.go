// Command datapath is what the benchmark attaches of vpclab: the switch with everything on, between two
// TAP devices. Two security groups of 60 rules each, connection tracking, and a flow log of all traffic.
//
//	datapath -dir DIR TAP=ADDRESS TAP=ADDRESS
//
// It makes the devices in the network namespace it is started in; whoever started it moves them to where
// they are used. It runs until it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/conntrack"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// rules is AWS's default quota of rules a group and direction.
const rules = 60

func main() {
	dir := flag.String("dir", "", "folder for the flow-log files")
	mtu := flag.Int("mtu", 1500, "MTU of both ends, bytes")
	flag.Parse()
	if err := run(*dir, *mtu, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "datapath:", err)
		os.Exit(1)
	}
}

func run(dir string, mtu int, ends []string) (err error) {
	if dir == "" || len(ends) != 2 {
		return errors.New("usage: datapath -dir DIR TAP=ADDRESS TAP=ADDRESS")
	}
	d, err := newDatapath(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	for i, end := range ends {
		if err := d.plug(i, end, mtu); err != nil {
			return err
		}
	}
	if err := d.authorize(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	for t := time.NewTicker(250 * time.Millisecond); ; {
		select {
		case <-stop:
			return nil
		case <-t.C:
			if err := d.tick(); err != nil {
				return err
			}
		}
	}
}

// datapath is a VPC with one subnet, a group for each end, and the switch.
type datapath struct {
	store     *vpc.MemoryStore
	records   *flowlogs.Aggregator
	publisher *flowlogs.Publisher
	sw        *vswitch.Switch
	subnet    string
	groups    [2]string
}

func newDatapath(dir string) (*datapath, error) {
	d := &datapath{store: vpc.NewMemoryStore(vpc.Config{}), records: flowlogs.NewAggregator(flowlogs.Config{Start: time.Now().UnixNano()})}
	var err error
	view := d.store.View()
	if d.publisher, err = flowlogs.NewPublisher(flowlogs.PublisherConfig{Dir: dir, Account: view.Account(), Region: view.Region()}); err != nil {
		return nil, err
	}
	d.sw, err = vswitch.New(vswitch.Config{
		Clock: vswitch.NewSystemClock(), Records: d.records,
		Table: conntrack.Config{MaxHalves: 4 << 20, Allocator: conntrack.Mmap},
	})
	if err != nil {
		return nil, err
	}
	return d, d.update(d.furnish)
}

func (d *datapath) update(fn func(*vpc.Tx) error) error {
	if _, err := d.store.Update(context.Background(), fn); err != nil {
		return err
	}
	d.sw.Apply(d.store.View())
	return d.publisher.SetSubscriptions(d.store.View().FlowLogs())
}

// furnish makes the VPC, its subnet, a group for each end and the flow log.
func (d *datapath) furnish(tx *vpc.Tx) error {
	v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: netip.MustParsePrefix("10.99.0.0/16")})
	if err != nil {
		return err
	}
	s, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: v.ID, CIDR: netip.MustParsePrefix("10.99.0.0/24")})
	if err != nil {
		return err
	}
	d.subnet = s.ID
	for i, name := range []string{"a", "b"} {
		g, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{VPCID: v.ID, GroupName: name, Description: "end " + name})
		if err != nil {
			return err
		}
		d.groups[i] = g.ID
	}
	_, err = tx.CreateFlowLogs(vpc.CreateFlowLogsInput{
		ResourceType: "VPC", ResourceIDs: []string{v.ID}, TrafficType: "ALL", LogDestinationType: "s3", LogDestination: "arn:aws:s3:::bench",
		MaxAggregationInterval: 60,
	})
	return err
}

// authorize fills both groups with rules: those that the benchmark needs, from the other group, so that all
// traffic is tracked, among others that match nothing of it.
func (d *datapath) authorize() error {
	return d.update(func(tx *vpc.Tx) error {
		for i, g := range d.groups {
			in := vpc.AuthorizeSecurityGroupInput{GroupID: g}
			peer := d.groups[1-i]
			for _, p := range []vpc.Permission{
				{Protocol: 1, FromPort: -1, ToPort: -1, GroupID: peer},
				{Protocol: 6, FromPort: 5000, ToPort: 5999, GroupID: peer}, {Protocol: 6, FromPort: 9000, ToPort: 9999, GroupID: peer},
				{Protocol: 17, FromPort: 5000, ToPort: 5999, GroupID: peer}, {Protocol: 17, FromPort: 9000, ToPort: 9999, GroupID: peer},
			} {
				in.Rules = append(in.Rules, vpc.RuleSpec{Permission: p})
			}
			for n := len(in.Rules); n < rules; n++ {
				other := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(n), 0}), 24)
				in.Rules = append(in.Rules, vpc.RuleSpec{Permission: vpc.Permission{Protocol: 6, FromPort: 100 * n, ToPort: 100*n + 50, CIDR: other}})
			}
			if _, err := tx.AuthorizeSecurityGroupIngress(in); err != nil {
				return err
			}
		}
		return nil
	})
}

// plug makes a TAP and a network interface with its MAC.
func (d *datapath) plug(i int, end string, mtu int) error {
	name, text, _ := strings.Cut(end, "=")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return fmt.Errorf("%s: %w", end, err)
	}
	port, err := tap.Open(tap.Config{Device: name, MTU: mtu})
	if err != nil {
		return err
	}
	device, err := net.InterfaceByName(name)
	if err != nil {
		return errors.Join(err, port.Close())
	}
	var id string
	err = d.update(func(tx *vpc.Tx) error {
		ni, err := tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: vpc.InterfaceSpec{
			SubnetID: d.subnet, Addresses: []netip.Addr{addr}, MAC: device.HardwareAddr.String(), Groups: []string{d.groups[i]},
		}})
		if err == nil {
			id = ni.ID
		}
		return err
	})
	if err != nil {
		return errors.Join(err, port.Close())
	}
	return d.sw.Attach(id, port)
}

func (d *datapath) tick() error {
	return errors.Join(d.publisher.Consume(d.sw.Tick()), d.publisher.Tick(time.Now().UnixNano()))
}

func (d *datapath) close() error {
	err := d.sw.Close()
	return errors.Join(err, d.publisher.Consume(d.records.Finish(time.Now().UnixNano())), d.publisher.Close())
}

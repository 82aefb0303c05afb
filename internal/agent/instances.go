package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/lab"
	"github.com/vpclab/vpclab/vpc"
)

// routerLinkLocal is the implicit router's IPv6 address in every subnet.
var routerLinkLocal = netip.MustParseAddr("fe80:ec2::1")

func pid() int { return os.Getpid() }

// startInstance starts what the model says of an instance. detail is for people.
func (n *node) startInstance(ctx context.Context, id string) (detail string, err error) {
	view := n.store.View()
	i, ok := view.Instance(id)
	if !ok {
		return "", fmt.Errorf("instance %s is gone", id)
	}
	spec, err := n.spec(view, i)
	if err != nil {
		return "", err
	}
	if err := n.start(ctx, i.Driver, spec, i.InterfaceIDs[0]); err != nil {
		return "", err
	}
	return i.Driver + ", " + spec.Prefixes[0].Addr().String(), nil
}

// spec is all that a driver has to know.
func (n *node) spec(view *vpc.View, i *vpc.Instance) (instances.Spec, error) {
	s := instances.Spec{ID: i.ID, Name: i.Name, MTU: lab.MTU(i), Listen: i.Listen, Run: i.Run, Lab: i.Lab, RunDir: filepath.Join(n.opts.DataDir, runDirectory)}
	ni, ok := view.NetworkInterface(i.InterfaceIDs[0])
	if !ok {
		return s, fmt.Errorf("instance %s has no network interface", i.Name)
	}
	mac, err := net.ParseMAC(ni.MAC)
	if err != nil {
		return s, err
	}
	s.MAC = mac
	sn, ok := view.Subnet(ni.SubnetID)
	if !ok {
		return s, fmt.Errorf("instance %s has no subnet", i.Name)
	}
	for _, a := range ni.Addresses {
		s.Prefixes = append(s.Prefixes, netip.PrefixFrom(a, sn.CIDR.Bits()))
	}
	s.Gateways = []netip.Addr{sn.CIDR.Addr().Next()}
	for _, a := range ni.Addresses6 {
		s.Prefixes = append(s.Prefixes, netip.PrefixFrom(a, sn.CIDR6.Bits()))
	}
	if len(ni.Addresses6) > 0 {
		s.Gateways = append(s.Gateways, routerLinkLocal)
	}
	s.Hosts = hosts(view, i)
	s.TAP = n.tapSpec(i)
	if vm := i.VM; vm != nil {
		s.VM = &instances.VM{Kernel: vm.Kernel, Initrd: vm.Initrd, Append: vm.Append, Disk: vm.Disk, DiskFormat: vm.DiskFormat, Memory: vm.Memory,
			CPUs: vm.CPUs, Netdev: vm.Netdev, Args: vm.Args, Dir: vm.Dir}
	}
	return s, nil
}

// hosts names the other instances of the VPC that belong to the same lab.
func hosts(view *vpc.View, self *vpc.Instance) []instances.Host {
	var out []instances.Host
	for _, i := range view.Instances(self.VPCID) {
		if i.ID == self.ID || i.Lab != self.Lab || i.Name == "" {
			continue
		}
		for _, id := range i.InterfaceIDs {
			if ni, ok := view.NetworkInterface(id); ok {
				for _, a := range slices.Concat(ni.Addresses, ni.Addresses6) {
					out = append(out, instances.Host{Addr: a, Names: []string{i.Name}})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b instances.Host) int { return a.Addr.Compare(b.Addr) })
	return out
}

// setHosts tells all instances of a lab who is there.
func (n *node) setHosts(labName string) error {
	view := n.store.View()
	for _, i := range view.Instances("") {
		if r, ok := n.instance(i.ID); ok && i.Lab == labName {
			if err := r.SetHosts(hosts(view, i)); err != nil {
				return fmt.Errorf("instance %s: hosts file: %w", i.Name, err)
			}
		}
	}
	return nil
}

// restartIfMoved starts an instance anew whose addresses changed; other changes need nothing of it.
func (n *node) restartIfMoved(ctx context.Context, id string, progress func(*api.Progress)) error {
	view := n.store.View()
	i, ok := view.Instance(id)
	r, runs := n.instance(id)
	if !ok || !runs {
		return nil
	}
	spec, err := n.spec(view, i)
	if err != nil {
		return err
	}
	if slices.Equal(spec.Prefixes, r.prefixes) {
		return nil
	}
	progress(&api.Progress{Action: "restart", Kind: "instance", Name: i.Name, Detail: "its addresses changed"})
	if err := n.powerOff(ctx, id); err != nil {
		return err
	}
	if err := n.setState(ctx, id, vpc.StatePending); err != nil {
		return err
	}
	if _, err := n.startInstance(ctx, id); err != nil && !n.tolerate(id, err) {
		return err
	}
	return n.settleStates(ctx, id)
}

// progress counts what goes on side by side.
type progressCount struct {
	mu          sync.Mutex
	done, total int
	emit        func(*api.Progress)
}

func newProgress(total int, emit func(*api.Progress)) *progressCount {
	return &progressCount{total: total, emit: emit}
}

func (p *progressCount) tell(action, name, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	p.emit(&api.Progress{Action: action, Kind: "instance", Name: name, Detail: strings.TrimSpace(detail), Done: p.done, Total: p.total})
}

package agent

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/vpc"
)

// Status gives the agent, its labs and its instances.
func (n *node) Status(context.Context) (*api.Status, error) {
	view := n.store.View()
	t := n.sw.TableStats()
	return &api.Status{
		Agent: api.AgentInfo{
			Version: n.opts.Version, PID: os.Getpid(), DataDir: n.opts.DataDir, Driver: n.opts.Driver, Started: n.started,
			Revision: uint64(view.Revision()), Applied: uint64(n.sw.Applied()), Account: view.Account(), Region: view.Region(),
		},
		Labs: n.labRows(view), Instances: n.instanceRows(view, ""), Drops: n.drops(view),
		Conntrack: api.TableStats{
			Halves: int(t.Halves), Rejected: int(t.Rejected), Capacity: int(t.Capacity), Full: t.Full, Evicted: t.Evicted,
		},
	}, nil
}

func (n *node) labRows(view *vpc.View) []api.LabRow {
	rows := []api.LabRow{}
	for _, name := range view.Labs() {
		row := api.LabRow{Name: name}
		for _, o := range view.LabObjects(name) {
			switch o := o.(type) {
			case *vpc.VPC:
				row.VPCs++
			case *vpc.Subnet:
				row.Subnets++
			case *vpc.SecurityGroup:
				row.Groups++
			case *vpc.Instance:
				row.Instances++
				if n.alive(o.ID) {
					row.Running++
				}
			}
		}
		if f := n.labFile(name); f != nil {
			row.File = f.Name()
		}
		rows = append(rows, row)
	}
	return rows
}

// instanceRows lists the instances of a lab, or of all, by lab and name.
func (n *node) instanceRows(view *vpc.View, labName string) []api.InstanceRow {
	rows := []api.InstanceRow{}
	for _, i := range view.Instances("") {
		if labName == "" || i.Lab == labName {
			rows = append(rows, n.instanceRow(view, i))
		}
	}
	slices.SortFunc(rows, func(a, b api.InstanceRow) int {
		return cmp.Or(cmp.Compare(a.Lab, b.Lab), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return rows
}

func (n *node) instanceRow(view *vpc.View, i *vpc.Instance) api.InstanceRow {
	row := api.InstanceRow{
		Lab: i.Lab, Name: i.Name, ID: i.ID, State: i.State, Driver: i.Driver, VPC: objectWord(view, i.VPCID), Subnet: objectWord(view, i.SubnetID),
		Listen: i.Listen, Problem: n.problem(i.ID),
	}
	for _, id := range i.InterfaceIDs {
		if ni, ok := view.NetworkInterface(id); ok {
			row.Addresses = append(row.Addresses, slices.Concat(ni.Addresses, ni.Addresses6)...)
			row.Groups = append(row.Groups, groupNames(view, ni.Groups)...)
		}
	}
	if r, ok := n.instance(i.ID); ok {
		row.Driver = r.driver
		row.Problem = cmp.Or(row.Problem, trouble(r))
	}
	return row
}

// objectWord is an object's name, or its id where it has none.
func objectWord(view *vpc.View, id string) string {
	if o, ok := view.Object(id); ok {
		if name := objectName(o); name != "" {
			return name
		}
	}
	return id
}

// drops lists what was lost, by counter and port.
func (n *node) drops(view *vpc.View) []api.Counter {
	out := []api.Counter{}
	for _, p := range n.sw.Ports() {
		lost := p.Lost()
		maps.Copy(lost, n.portCounters(p.Interface))
		for name, value := range lost {
			out = append(out, api.Counter{Name: name, Where: n.placeOf(view, p.Interface), Value: value})
		}
	}
	slices.SortFunc(out, func(a, b api.Counter) int { return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.Name, b.Name)) })
	return out
}

// portCounters are the faults that an interface's port counts itself.
func (n *node) portCounters(eni string) map[string]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.running {
		if c, ok := r.Port().(interface{ Counters() map[string]uint64 }); ok && r.eni == eni {
			return c.Counters()
		}
	}
	return nil
}

// placeOf names the instance behind a network interface, with its lab where there are several.
func (n *node) placeOf(view *vpc.View, eni string) string {
	name := instanceAt(view, eni)
	if ni, ok := view.NetworkInterface(eni); ok && len(view.Labs()) > 1 {
		if i, ok := view.Instance(ni.InstanceID); ok && i.Lab != "" {
			return i.Lab + "/" + name
		}
	}
	return name
}

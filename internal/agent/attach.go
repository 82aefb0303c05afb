package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vpc"
)

// driverTAP attaches programs that hold a TAP.
const driverTAP = "tap"

// Attach makes a device of another program an instance of a lab that is up.
func (n *node) Attach(ctx context.Context, r *api.AttachRequest) (*api.AttachResult, error) {
	n.labbing.Lock()
	defer n.labbing.Unlock()
	if _, _, err := ChooseDriver(driverTAP); err != nil {
		return nil, err
	}
	in, err := n.attachInput(r)
	if err != nil {
		return nil, err
	}
	var made *vpc.Instance
	rev, err := n.update(ctx, func(tx *vpc.Tx) (err error) {
		made, err = tx.RunInstance(*in)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err = n.startInstance(ctx, made.ID); err == nil {
		err = errors.Join(n.settleStates(ctx, made.ID), n.setHosts(made.Lab))
	}
	if err != nil { // nothing of it stays
		return nil, errors.Join(attachError(r.Device, err), n.terminate(context.WithoutCancel(ctx), made))
	}
	return n.attached(made.ID, uint64(rev))
}

// attachError says of an instance's own fault only what is wrong with the device.
func attachError(device string, err error) error {
	var fault *instances.Fault
	if errors.As(err, &fault) {
		return &api.Error{Code: api.CodeUnsupported, Field: device, Message: fault.Error()}
	}
	return err
}

// attachInput is what the model is asked for.
func (n *node) attachInput(r *api.AttachRequest) (*vpc.RunInstanceInput, error) {
	view := n.store.View()
	o, err := named(view, vpc.KindSubnet, r.Lab, r.Subnet)
	if err != nil {
		return nil, err
	}
	subnet := o.(*vpc.Subnet)
	spec := vpc.InterfaceSpec{SubnetID: subnet.ID, MAC: r.MAC}
	for _, word := range r.Groups {
		g, err := n.groupIn(view, subnet, word)
		if err != nil {
			return nil, err
		}
		spec.Groups = append(spec.Groups, g.ID)
	}
	if r.IP.IsValid() {
		spec.Addresses = []netip.Addr{r.IP}
	}
	name := r.Name
	if name == "" {
		name = r.Device
	}
	if err := n.attachable(view, subnet.Lab, name, r); err != nil {
		return nil, err
	}
	in := &vpc.RunInstanceInput{
		Owner: vpc.Owner{Name: name, Lab: subnet.Lab}, Driver: driverTAP, Interfaces: []vpc.InterfaceSpec{spec},
		TAP: &vpc.TAP{Device: r.Device, Netns: r.Netns, Learn: r.MAC == "", Attached: true},
	}
	if f := n.labFile(subnet.Lab); f != nil {
		f.Join(in)
	}
	return in, nil
}

// groupIn finds a group of the subnet's VPC.
func (n *node) groupIn(view *vpc.View, s *vpc.Subnet, word string) (*vpc.SecurityGroup, error) {
	if g, ok := view.SecurityGroupNamed(s.VPCID, word); ok {
		return g, nil
	}
	return n.groupNamed(view, s.Lab, word)
}

// attachable refuses a name that is taken and a device that is an instance already.
func (n *node) attachable(view *vpc.View, labName, name string, r *api.AttachRequest) error {
	if !validLabel(name) {
		return &api.Error{Code: api.CodeBadRequest, Field: "name", Message: fmt.Sprintf("%q cannot be the name of an instance", name),
			Fix: "give it another with --name: lower-case letters, digits and hyphens, beginning with a letter"}
	}
	if len(view.Find(labName, vpc.KindInstance, name)) > 0 {
		return &api.Error{Code: api.CodeBadRequest, Field: "name", Message: fmt.Sprintf("lab %s has an instance %s already", labName, name), Fix: "give this one another name with --name"}
	}
	for _, i := range view.Instances("") {
		if i.TAP != nil && i.TAP.Device == r.Device && i.TAP.Netns == r.Netns && n.alive(i.ID) {
			return &api.Error{Code: api.CodeBadRequest, Field: "device", Message: fmt.Sprintf("device %s is instance %s already", r.Device, i.Name),
				Fix: "give another device, or `vpclab detach " + i.Name + "` first"}
		}
	}
	return nil
}

// validLabel holds the rule that lab files have for names of instances.
func validLabel(name string) bool {
	letters, rest := "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz0123456789-"
	return name != "" && len(name) <= 63 && strings.Contains(letters, name[:1]) && strings.Trim(name, rest) == "" && !strings.HasSuffix(name, "-")
}

// attached describes what Attach has made.
func (n *node) attached(id string, rev uint64) (*api.AttachResult, error) {
	view := n.store.View()
	i, ok := view.Instance(id)
	run, runs := n.instance(id)
	if !ok || !runs {
		return nil, fmt.Errorf("instance %s is gone", id)
	}
	ni, _ := view.NetworkInterface(i.InterfaceIDs[0])
	res := &api.AttachResult{Revision: rev, Instance: n.instanceRow(view, i), InterfaceID: ni.ID, Device: i.TAP.Device, MTU: run.Port().MTU()}
	if !i.TAP.Learn {
		res.MAC = ni.MAC
	}
	if s, ok := view.Subnet(ni.SubnetID); ok {
		res.Prefix, res.Gateway = netip.PrefixFrom(ni.Addresses[0], s.CIDR.Bits()), s.CIDR.Addr().Next()
	}
	return res, nil
}

// Detach undoes Attach.
func (n *node) Detach(ctx context.Context, r *api.DetachRequest) (*api.DetachResult, error) {
	n.labbing.Lock()
	defer n.labbing.Unlock()
	i, err := n.instanceNamed(n.store.View(), r.Lab, r.Instance)
	if err != nil {
		return nil, err
	}
	if i.TAP == nil || !i.TAP.Attached {
		return nil, &api.Error{Code: api.CodeUnsupported, Message: fmt.Sprintf("instance %s was not attached: it is in the file of lab %s", i.Name, i.Lab),
			Fix: "take it out of the file and `vpclab apply` it, or `vpclab stop` it"}
	}
	if err := n.terminate(ctx, i); err != nil {
		return nil, err
	}
	if err := n.setHosts(i.Lab); err != nil {
		return nil, err
	}
	return &api.DetachResult{Revision: uint64(n.store.View().Revision()), Lab: i.Lab, Name: i.Name, ID: i.ID, Device: i.TAP.Device}, nil
}

// terminate ends an instance and takes it out of the model. Its last records are counted before.
func (n *node) terminate(ctx context.Context, i *vpc.Instance) error {
	if err := n.stop(i.ID); err != nil {
		return err
	}
	n.sw.DrainRecords()
	_, err := n.update(ctx, func(tx *vpc.Tx) error { return tx.TerminateInstance(i.ID) })
	return err
}

// tapSpec is what the driver has to know of an instance's TAP; nil if it has none.
func (n *node) tapSpec(i *vpc.Instance) *instances.TAP {
	if i.TAP == nil {
		return nil
	}
	t := &instances.TAP{Device: i.TAP.Device, Make: i.TAP.Make, Owner: i.TAP.Owner, Group: i.TAP.Group, Netns: i.TAP.Netns}
	t.Event = func(name, text string) {
		log := n.log.Warn
		if name == "attached" {
			log = n.log.Info
		}
		log("device "+name, "instance", i.Name, "device", i.TAP.Device, "what", text)
	}
	if i.TAP.Learn {
		eni := i.InterfaceIDs[0]
		t.Learn = func(mac net.HardwareAddr) { n.learnMAC(i, eni, mac) }
	}
	return t
}

// learnMAC gives an interface the address that its instance has. Called by a port, which waits for it.
func (n *node) learnMAC(i *vpc.Instance, eni string, mac net.HardwareAddr) {
	text := mac.String()
	_, err := n.update(context.Background(), func(tx *vpc.Tx) error {
		_, err := tx.ModifyNetworkInterface(vpc.ModifyNetworkInterfaceInput{ID: eni, MAC: &text})
		return err
	})
	switch {
	case vpc.ErrorCode(err) == "InvalidNetworkInterfaceID.NotFound": // it was taken away meanwhile
		return
	case err != nil:
		n.log.Error("the MAC of an instance cannot be had; its frames are dropped as spoofed", "instance", i.Name, "mac", text, "error", err)
		n.note(i.ID, fmt.Errorf("its MAC %s cannot be had: %w", text, err))
		return
	}
	n.mu.Lock()
	delete(n.problems, i.ID) // of an address before
	n.mu.Unlock()
	n.log.Info("learnt the MAC of an instance", "instance", i.Name, "mac", text)
}

// trouble is what is wrong with an instance that runs, "" if nothing is.
func trouble(r *running) string {
	if t, ok := r.Instance.(instances.Troubled); ok {
		return t.Trouble()
	}
	return ""
}

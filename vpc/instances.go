package vpc

import (
	"slices"
	"strconv"
	"strings"
)

// States of an instance.
const (
	StatePending  = "pending"
	StateRunning  = "running"
	StateStopping = "stopping"
	StateStopped  = "stopped"
)

// transitions are the states that may follow a state, besides itself. An instance that is terminated is gone.
var transitions = map[string][]string{
	StatePending:  {StateRunning, StateStopping, StateStopped},
	StateRunning:  {StatePending, StateStopping, StateStopped}, // pending: a reboot
	StateStopping: {StateStopped},
	StateStopped:  {StatePending},
}

// RunInstance makes an instance, in state pending, with its interfaces, which are all in one VPC and zone. Interfaces
// that it makes are deleted with it; those that existed become available again. Errors: those of
// CreateNetworkInterface, InvalidNetworkInterfaceID.NotFound, InvalidNetworkInterface.InUse,
// InvalidParameterCombination, AttachmentLimitExceeded, MissingParameter.
func (tx *Tx) RunInstance(in RunInstanceInput) (*Instance, error) {
	return command(tx, func() (*Instance, error) { return tx.runInstance(in) })
}

func (tx *Tx) runInstance(in RunInstanceInput) (*Instance, error) {
	if len(in.Interfaces) == 0 {
		return nil, fail("MissingParameter", "Interfaces", "The request must contain the parameter subnetId or networkInterface")
	}
	if quota := tx.cfg.Quotas.InterfacesPerInstance; len(in.Interfaces) > quota {
		return nil, fail("AttachmentLimitExceeded", "Interfaces", "Interface count %d exceeds the limit", len(in.Interfaces)).
			hint("the quota is %d", quota)
	}
	for i, l := range in.Listen {
		if err := checkListen(l); err != nil {
			return nil, within(err, element("Listen", i))
		}
	}
	if err := checkRun(in.Run); err != nil {
		return nil, err
	}
	if err := printable(in.Driver, 64, "Driver", "Value (%s) for parameter driver is invalid."); err != nil {
		return nil, err
	}
	meta, err := tx.meta(prefixInstance, in.Owner)
	if err != nil {
		return nil, err
	}
	inst := &Instance{
		Meta: meta, Driver: in.Driver, VM: in.VM.clone(), TAP: in.TAP.clone(), Listen: slices.Clone(in.Listen), Run: slices.Clone(in.Run), State: StatePending, LaunchTime: tx.now(),
	}
	for i, spec := range in.Interfaces {
		if err := tx.plug(inst, i, spec); err != nil {
			return nil, within(err, element("Interfaces", i))
		}
	}
	tx.put(inst)
	return inst, nil
}

// plug gives a new instance its next interface.
func (tx *Tx) plug(inst *Instance, device int, spec InterfaceSpec) error {
	n, err := tx.interfaceFor(inst, device, spec)
	if err != nil {
		return err
	}
	if device == 0 {
		inst.VPCID, inst.SubnetID = n.VPCID, n.SubnetID
	}
	mine, _ := tx.Subnet(inst.SubnetID)
	theirs, _ := tx.Subnet(n.SubnetID)
	if mine.VPCID != theirs.VPCID || mine.AvailabilityZone != theirs.AvailabilityZone {
		return fail("InvalidParameterCombination", "SubnetID", "The network interfaces of an instance must be in one VPC "+
			"and Availability Zone: %s is in %s (%s), not %s (%s)", theirs.ID, theirs.VPCID, theirs.AvailabilityZone,
			mine.VPCID, mine.AvailabilityZone)
	}
	n.InstanceID, n.DeviceIndex, n.Status = inst.ID, device, "in-use"
	inst.InterfaceIDs = append(inst.InterfaceIDs, n.ID)
	tx.put(n)
	return nil
}

// interfaceFor gives a copy of the interface that a spec names, or a new one.
func (tx *Tx) interfaceFor(inst *Instance, device int, spec InterfaceSpec) (*NetworkInterface, error) {
	if spec.NetworkInterfaceID != "" {
		return tx.existingInterface(spec)
	}
	if spec.Description == "" && device == 0 {
		spec.Description = "Primary network interface"
	}
	n, err := tx.newInterface(Owner{Lab: inst.Lab}, spec)
	if err != nil {
		return nil, err
	}
	n.DeleteOnTermination = true
	return n, nil
}

func (tx *Tx) existingInterface(spec InterfaceSpec) (*NetworkInterface, error) {
	if spec.SubnetID != "" || spec.MAC != "" || spec.Description != "" || len(spec.Addresses)+len(spec.Addresses6)+len(spec.Groups) > 0 ||
		spec.SecondaryCount != 0 || spec.Count6 != 0 || spec.SourceDestCheck != nil || spec.Tracking != (ConnectionTracking{}) {
		return nil, fail("InvalidParameterCombination", "NetworkInterfaceID",
			"A network interface may not specify both a network interface ID and its attributes")
	}
	n, err := need[*NetworkInterface](&tx.View, KindNetworkInterface, spec.NetworkInterfaceID, "NetworkInterfaceID")
	if err != nil {
		return nil, err
	}
	if n.InstanceID != "" {
		return nil, fail("InvalidNetworkInterface.InUse", "NetworkInterfaceID", "Interface: [%s] in use.", n.ID).
			hint("%s has it", n.InstanceID)
	}
	c := *n
	return &c, nil
}

// Bounds of what an instance runs by itself. (AWS's user data has at most 16 KB.)
const (
	MaxCommands = 16
	MaxCommand  = 16 << 10 // bytes
)

func checkRun(commands []string) error {
	if len(commands) > MaxCommands {
		return fail("InvalidParameterValue", "Run", "An instance runs at most %d commands", MaxCommands)
	}
	for i, text := range commands {
		if text == "" || len(text) > MaxCommand || strings.ContainsRune(text, 0) {
			return within(fail("InvalidParameterValue", "", "A command has 1 to %d bytes, none of them zero", MaxCommand), element("Run", i))
		}
	}
	return nil
}

// checkListen checks "tcp/80", "udp/53".
func checkListen(s string) error {
	proto, port, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if (proto != "tcp" && proto != "udp") || err != nil || n == 0 || port[0] == '+' || port[0] == '0' {
		return fail("InvalidParameterValue", "", "Value (%s) for parameter listen is invalid.", s).
			hint("write tcp/PORT or udp/PORT with a port of 1 to 65535")
	}
	return nil
}

// SetInstanceState records what an instance's driver, or a user who stops or starts it, made of it.
// Errors: InvalidInstanceID.NotFound, InvalidInstanceID.Malformed, IncorrectInstanceState, InvalidParameterValue.
func (tx *Tx) SetInstanceState(id, state string) (*Instance, error) {
	return command(tx, func() (*Instance, error) {
		inst, err := need[*Instance](&tx.View, KindInstance, id, "ID")
		if err != nil {
			return nil, err
		}
		if _, ok := transitions[state]; !ok {
			return nil, fail("InvalidParameterValue", "State", "Value (%s) for parameter state is invalid.", state).
				hint("use %s, %s, %s or %s", StatePending, StateRunning, StateStopping, StateStopped)
		}
		if inst.State == state {
			return inst, nil
		}
		if !slices.Contains(transitions[inst.State], state) {
			return nil, fail("IncorrectInstanceState", "State", "The instance '%s' is not in a state from which it can become %s.", id, state).
				hint("it is %s", inst.State)
		}
		c := *inst
		c.State = state
		tx.put(&c)
		return &c, nil
	})
}

// TerminateInstance deletes an instance and the interfaces that were made for it; the others become available.
// Errors: InvalidInstanceID.NotFound, InvalidInstanceID.Malformed.
func (tx *Tx) TerminateInstance(id string) error {
	_, err := command(tx, func() (*Instance, error) {
		inst, err := need[*Instance](&tx.View, KindInstance, id, "ID")
		if err != nil {
			return nil, err
		}
		for _, nid := range inst.InterfaceIDs {
			n, _ := tx.NetworkInterface(nid)
			if n.DeleteOnTermination {
				tx.dropInterface(n)
				continue
			}
			c := *n
			c.InstanceID, c.DeviceIndex, c.Status = "", 0, "available"
			tx.put(&c)
		}
		tx.drop(inst)
		return inst, nil
	})
	return err
}

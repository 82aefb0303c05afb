package vpc_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestRunInstance(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	want := vpc.Instance{
		Meta: vpc.Meta{ID: f.inst.ID, Name: "web-1", Lab: "lab"}, VPCID: f.shop.ID, SubnetID: f.public.ID, InterfaceIDs: []string{f.eni.ID},
		Driver: "netns", Listen: []string{"tcp/80"}, Run: []string{"echo hello"}, State: "pending", LaunchTime: launch,
	}
	if got, _ := f.store.View().Instance(f.inst.ID); !reflect.DeepEqual(*got, want) {
		t.Errorf("have %+v\nwant %+v", *got, want)
	}
	if n := f.eni; n.InstanceID != f.inst.ID || n.Status != "in-use" || !n.DeleteOnTermination || n.Lab != "lab" || n.Description != "Primary network interface" {
		t.Errorf("interface %+v", n)
	}
}

func TestInstanceWithSeveralInterfaces(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	var inst *vpc.Instance
	f.do(t, func(tx *vpc.Tx) (err error) {
		inst, err = tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{
			{SubnetID: f.private.ID}, {NetworkInterfaceID: f.free.ID}, {SubnetID: f.private.ID}}})
		return err
	})
	v := f.store.View()
	if inst.SubnetID != f.private.ID || len(inst.InterfaceIDs) != 3 || inst.InterfaceIDs[1] != f.free.ID {
		t.Errorf("instance %+v", inst)
	}
	second, _ := v.NetworkInterface(f.free.ID)
	third, _ := v.NetworkInterface(inst.InterfaceIDs[2])
	if second.DeviceIndex != 1 || second.DeleteOnTermination || third.DeviceIndex != 2 || third.Addresses[0].String() != "10.0.2.5" || third.Description != "" {
		t.Errorf("interfaces %+v, %+v", second, third)
	}
	f.do(t, func(tx *vpc.Tx) error { return tx.TerminateInstance(inst.ID) })
	v = f.store.View()
	if left := v.NetworkInterfaces(""); len(left) != 2 {
		t.Errorf("%d interfaces are left, want web-1's and the one that existed before", len(left))
	}
	if n, ok := v.NetworkInterface(f.free.ID); !ok || n.Status != "available" || n.InstanceID != "" || n.DeviceIndex != 0 {
		t.Errorf("the interface that existed before: %+v", n)
	}
}

func TestTerminateTakesFlowLogsOfTheInterface(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		in := f.flowLogs()
		in.ResourceType, in.ResourceIDs = "NetworkInterface", []string{f.eni.ID}
		if _, err := tx.CreateFlowLogs(in); err != nil {
			return err
		}
		return tx.TerminateInstance(f.inst.ID)
	})
	if n := len(f.store.View().FlowLogs()); n != 1 {
		t.Errorf("%d flow logs are left", n)
	}
}

func TestInstanceStates(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	for _, state := range []string{"pending", "running", "running", "pending", "running", "stopping", "stopped", "pending", "stopped"} {
		f.do(t, func(tx *vpc.Tx) error {
			i, err := tx.SetInstanceState(f.inst.ID, state)
			if err == nil && i.State != state {
				t.Errorf("state %s, want %s", i.State, state)
			}
			return err
		})
	}
}

func TestInstanceErrors(t *testing.T) {
	run := func(edit func(*fixture, *vpc.RunInstanceInput)) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			in := vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: f.public.ID}, {SubnetID: f.private.ID}}}
			edit(f, &in)
			return errOf(tx.RunInstance(in))
		}
	}
	listen := func(s string) func(*fixture, *vpc.Tx) error {
		return run(func(_ *fixture, in *vpc.RunInstanceInput) { in.Listen = []string{"tcp/80", s} })
	}
	commands := func(s ...string) func(*fixture, *vpc.Tx) error {
		return run(func(_ *fixture, in *vpc.RunInstanceInput) { in.Run = s })
	}
	second := func(edit func(*fixture, *vpc.InterfaceSpec)) func(*fixture, *vpc.Tx) error {
		return run(func(f *fixture, in *vpc.RunInstanceInput) { edit(f, &in.Interfaces[1]) })
	}
	const onePlace = "The network interfaces of an instance must be in one VPC and Availability Zone: subnet-..."
	refuse(t, vpc.Config{}, []refusal{
		{"no interface", run(func(_ *fixture, in *vpc.RunInstanceInput) { in.Interfaces = nil }),
			"MissingParameter", say("The request must contain the parameter subnetId or networkInterface"), "Interfaces", ""},
		{"the second interface in a wrong subnet", second(func(_ *fixture, in *vpc.InterfaceSpec) { in.SubnetID = absent("subnet") }),
			"InvalidSubnetID.NotFound", say("The subnet ID 'subnet-0123456789abcdef0' does not exist"), "Interfaces[1].SubnetID", ""},
		{"the second takes the first's address", second(func(f *fixture, in *vpc.InterfaceSpec) { in.SubnetID, in.Addresses = f.public.ID, addrs("10.0.1.4") }),
			"InvalidIPAddress.InUse", say("Address 10.0.1.4 is in use."), "Interfaces[1].Addresses[0]", ""},
		{"two VPCs", second(func(f *fixture, in *vpc.InterfaceSpec) { in.SubnetID = f.elsewhere.ID }),
			"InvalidParameterCombination", say(onePlace), "Interfaces[1].SubnetID", ""},
		{"an interface in use", second(func(f *fixture, in *vpc.InterfaceSpec) { *in = vpc.InterfaceSpec{NetworkInterfaceID: f.eni.ID} }),
			"InvalidNetworkInterface.InUse", func(f *fixture) string { return "Interface: [" + f.eni.ID + "] in use." }, "Interfaces[1].NetworkInterfaceID", "i-"},
		{"one interface twice", run(func(f *fixture, in *vpc.RunInstanceInput) {
			in.Interfaces = []vpc.InterfaceSpec{{NetworkInterfaceID: f.free.ID}, {NetworkInterfaceID: f.free.ID}}
		}), "InvalidNetworkInterface.InUse", func(f *fixture) string { return "Interface: [" + f.free.ID + "] in use." }, "Interfaces[1].NetworkInterfaceID", ""},
		{"an interface that is not there", second(func(_ *fixture, in *vpc.InterfaceSpec) { *in = vpc.InterfaceSpec{NetworkInterfaceID: absent("eni")} }),
			"InvalidNetworkInterfaceID.NotFound", say("The networkInterface ID 'eni-0123456789abcdef0' does not exist"), "Interfaces[1].NetworkInterfaceID", ""},
		{"an interface and a subnet", second(func(f *fixture, in *vpc.InterfaceSpec) { in.NetworkInterfaceID = f.free.ID }),
			"InvalidParameterCombination", say("A network interface may not specify both a network interface ID and its attributes"), "Interfaces[1].NetworkInterfaceID", ""},
		{"a group of another VPC", second(func(f *fixture, in *vpc.InterfaceSpec) { in.Groups = []string{f.foreign.ID} }),
			"InvalidGroup.NotFound", say("You have specified two resources that belong to different networks."), "Interfaces[1].Groups[0]", ""},
		{"an empty command", commands("true", ""), "InvalidParameterValue", say("A command has 1 to 16384 bytes, none of them zero"), "Run[1]", ""},
		{"a command with a zero byte", commands("a\x00b"), "InvalidParameterValue", say("A command has 1 to 16384 bytes, none of them zero"), "Run[0]", ""},
		{"a very long command", commands(strings.Repeat("x", vpc.MaxCommand+1)), "InvalidParameterValue", say("A command has 1 to 16384 bytes, none of them zero"), "Run[0]", ""},
		{"very many commands", commands(make([]string, vpc.MaxCommands+1)...), "InvalidParameterValue", say("An instance runs at most 16 commands"), "Run", ""},
		{"listen on SCTP", listen("sctp/80"), "InvalidParameterValue", say("Value (sctp/80) for parameter listen is invalid."), "Listen[1]", "tcp/PORT"},
		{"listen on port 0", listen("tcp/0"), "InvalidParameterValue", say("Value (tcp/0) for parameter listen is invalid."), "Listen[1]", ""},
		{"listen on port 70000", listen("udp/70000"), "InvalidParameterValue", say("Value (udp/70000) for parameter listen is invalid."), "Listen[1]", ""},
		{"listen on no port", listen("tcp"), "InvalidParameterValue", say("Value (tcp) for parameter listen is invalid."), "Listen[1]", ""},
		{"listen on +80", listen("tcp/+80"), "InvalidParameterValue", say("Value (tcp/+80) for parameter listen is invalid."), "Listen[1]", ""},
		{"listen on 080", listen("tcp/080"), "InvalidParameterValue", say("Value (tcp/080) for parameter listen is invalid."), "Listen[1]", ""},
		{"a bad driver", run(func(_ *fixture, in *vpc.RunInstanceInput) { in.Driver = "net\nns" }),
			"InvalidParameterValue", say("Value (net\nns) for parameter driver is invalid."), "Driver", ""},
		{"a state that does not follow", func(f *fixture, tx *vpc.Tx) error {
			if _, err := tx.SetInstanceState(f.inst.ID, "pending"); err != nil { // no change
				return err
			}
			return errOf(tx.SetInstanceState(f.inst.ID, "terminated"))
		}, "InvalidParameterValue", say("Value (terminated) for parameter state is invalid."), "State", "use pending, running, stopping or stopped"},
		{"the state of what is not there", func(_ *fixture, tx *vpc.Tx) error { return errOf(tx.SetInstanceState(absent("i"), "running")) },
			"InvalidInstanceID.NotFound", say("The instance ID 'i-0123456789abcdef0' does not exist"), "ID", ""},
		{"terminate what is not there", func(_ *fixture, tx *vpc.Tx) error { return tx.TerminateInstance(absent("i")) },
			"InvalidInstanceID.NotFound", say("The instance ID 'i-0123456789abcdef0' does not exist"), "ID", ""},
		{"terminate a name", func(_ *fixture, tx *vpc.Tx) error { return tx.TerminateInstance("web-1") },
			"InvalidInstanceID.Malformed", say(`Invalid id: "web-1" (expecting "i-...")`), "ID", ""},
	})
	refuse(t, vpc.Config{Quotas: vpc.Quotas{InterfacesPerInstance: 1}}, []refusal{
		{"too many interfaces", run(func(*fixture, *vpc.RunInstanceInput) {}), "AttachmentLimitExceeded", say("Interface count 2 exceeds the limit"), "Interfaces", "1"},
	})
}

func TestInstanceInTwoZones(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	_, err := f.store.Update(t.Context(), func(tx *vpc.Tx) error {
		s, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: f.shop.ID, CIDR: pfx("10.0.9.0/24"), AvailabilityZone: "us-east-1b"})
		if err != nil {
			return err
		}
		return errOf(tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: f.public.ID}, {SubnetID: s.ID}}}))
	})
	if vpc.ErrorCode(err) != "InvalidParameterCombination" {
		t.Errorf("error %v", err)
	}
}

func TestStateThatDoesNotFollow(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	for from, to := range map[string]string{"stopped": "running", "stopping": "running"} {
		_, err := f.store.Update(t.Context(), func(tx *vpc.Tx) error {
			if _, err := tx.SetInstanceState(f.inst.ID, from); err != nil {
				return err
			}
			return errOf(tx.SetInstanceState(f.inst.ID, to))
		})
		if e, ok := err.(*vpc.Error); !ok || e.Code != "IncorrectInstanceState" || e.Hint != "it is "+from || e.Field != "State" {
			t.Errorf("%s to %s: %v", from, to, err)
		}
	}
}

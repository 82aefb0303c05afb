package main

import (
	"net"
	"net/netip"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
)

func (a *app) attachCommand() *cobra.Command {
	var r agent.AttachRequest
	var ip string
	cmd := &cobra.Command{
		Use:   "attach DEVICE --subnet SUBNET",
		Short: "Make a virtual machine's TAP an instance of a lab that is up",
		Long: `Make a TAP that another program holds (QEMU with script=no, libvirt with
type='ethernet' and managed='no', Proxmox) an instance of a lab that is up: what
the program sends meets the lab's rules, and nothing else reaches it. The device
must be in no bridge and have no address.

The program has to use the address that is printed. Its MAC is that of the first
frame it sends, unless --mac gives it. The lab's file does not have the instance:
it goes with the lab, or by vpclab detach.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeDevice,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Lab, r.Device = a.lab, args[0]
			if err := attachRequest(&r, ip); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			res, err := c.Attach(cmd.Context(), &r)
			if err != nil {
				return err
			}
			return a.printer().Attached(res)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Subnet, "subnet", "", "the subnet to put it into (required)")
	f.StringSliceVar(&r.Groups, "groups", nil, "its security groups (default: the VPC's default group)")
	f.StringVar(&r.Name, "name", "", "its name (default: the device's)")
	f.StringVar(&ip, "ip", "", "its IPv4 address (default: one that is free)")
	f.StringVar(&r.MAC, "mac", "", "its MAC (default: that of the first frame)")
	f.StringVar(&r.Netns, "netns", "", "the network namespace that has the device: a name or a path (default: the agent's)")
	cmd.RegisterFlagCompletionFunc("subnet", a.completeFlag("subnet"))
	cmd.RegisterFlagCompletionFunc("groups", a.completeFlag("security-group"))
	a.labFlag(cmd)
	return cmd
}

// attachRequest checks what can be checked without an agent.
func attachRequest(r *agent.AttachRequest, ip string) error {
	if r.Subnet == "" {
		return usage("attach needs a subnet: vpclab attach %s --subnet SUBNET", r.Device)
	}
	if ip != "" {
		addr, err := netip.ParseAddr(ip)
		if err != nil || !addr.Is4() {
			return usage("--ip: %q is not an IPv4 address", ip)
		}
		r.IP = addr
	}
	if mac, err := net.ParseMAC(r.MAC); r.MAC != "" && (err != nil || len(mac) != 6) {
		return usage("--mac: %q is not a MAC such as 52:54:00:00:00:01", r.MAC)
	}
	return nil
}

func (a *app) detachCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "detach INSTANCE",
		Short: "Undo attach; the device stays",
		Long:  "Take an instance that was attached out of its lab. The device and the program that\nholds it stay, without a network.",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.completeFirst("instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			res, err := c.Detach(cmd.Context(), &agent.DetachRequest{Lab: a.lab, Instance: args[0]})
			if err != nil {
				return err
			}
			return a.printer().Detached(res)
		},
	}
	a.labFlag(cmd)
	return cmd
}

// completeDevice completes the name of a TAP of this machine.
func completeDevice(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, _ := filepath.Glob("/sys/class/net/*/tun_flags") // only TAPs and TUNs have it (drivers/net/tun.c)
	var names []string
	for _, path := range found {
		names = append(names, filepath.Base(filepath.Dir(path)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

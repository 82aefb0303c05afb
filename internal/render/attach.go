package render

import (
	"fmt"

	"github.com/vpclab/vpclab/api/agent"
)

var attachFields = []field[agent.AttachResult]{
	{"lab", func(r *agent.AttachResult) any { return r.Instance.Lab }},
	{"name", func(r *agent.AttachResult) any { return r.Instance.Name }},
	{"id", func(r *agent.AttachResult) any { return r.Instance.ID }},
	{"network_interface_id", func(r *agent.AttachResult) any { return r.InterfaceID }},
	{"device", func(r *agent.AttachResult) any { return r.Device }},
	{"subnet", func(r *agent.AttachResult) any { return r.Instance.Subnet }},
	{"prefix", func(r *agent.AttachResult) any { return r.Prefix }},
	{"gateway", func(r *agent.AttachResult) any { return r.Gateway }},
	{"mac", func(r *agent.AttachResult) any { return r.MAC }},
	{"mtu", func(r *agent.AttachResult) any { return r.MTU }},
	{"security_groups", func(r *agent.AttachResult) any { return r.Instance.Groups }},
	{"problem", func(r *agent.AttachResult) any { return r.Instance.Problem }},
}

// Attached prints the instance that a device became, and what the program behind it has to be told.
func (p *Printer) Attached(r *agent.AttachResult) error {
	if done, err := p.value(r); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, attachFields, []agent.AttachResult{*r})
	}
	t := bare(2)
	line := func(name, value string) { t.add(cell{text: name, style: bold}, text(value)) }
	line("attached", fmt.Sprintf("%s as %s in lab %s", r.Device, r.Instance.Name, r.Instance.Lab))
	line("address", fmt.Sprintf("%s, gateway %s", r.Prefix, r.Gateway))
	mac := r.MAC
	if mac == "" {
		mac = "that of the first frame; see `vpclab show " + r.Instance.Name + "`"
	}
	line("MAC", mac)
	line("MTU", fmt.Sprint(r.MTU))
	line("security groups", list(r.Instance.Groups))
	if r.Instance.Problem != "" {
		t.add(cell{text: "now", style: bold}, cell{text: r.Instance.Problem, style: yellow})
	}
	return t.flush(p.W, p.Color)
}

var detachFields = []field[agent.DetachResult]{
	{"lab", func(r *agent.DetachResult) any { return r.Lab }},
	{"name", func(r *agent.DetachResult) any { return r.Name }},
	{"id", func(r *agent.DetachResult) any { return r.ID }},
	{"device", func(r *agent.DetachResult) any { return r.Device }},
}

// Detached prints the instance that is gone.
func (p *Printer) Detached(r *agent.DetachResult) error {
	if done, err := p.value(r); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, detachFields, []agent.DetachResult{*r})
	}
	t := bare(2)
	t.line(fmt.Sprintf("detached %s from lab %s; device %s stays", r.Name, r.Lab, r.Device))
	return t.flush(p.W, p.Color)
}

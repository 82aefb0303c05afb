package doctor

import (
	"fmt"
	"strings"
)

// State is what a check came to.
type State string

const (
	OK    State = "ok"
	Lacks State = "lacks"
	Note  State = "note" // worth knowing, and nothing that is lacking
)

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"` // "TUN device"
	State State  `json:"state"`
	Found string `json:"found"`         // in words
	For   string `json:"for,omitempty"` // what it is needed for
	Fix   string `json:"fix,omitempty"` // what to do about a lack, in words
	// Command is what to type for it; "" where no single command does it.
	Command string `json:"command,omitempty"`
}

// Driver is one way of running instances.
type Driver struct {
	Name  string `json:"name"`
	Works bool   `json:"works"`
	Why   string `json:"why"` // how it works here, or why it does not
}

// Report is all that was found.
type Report struct {
	System  string   `json:"system"` // "linux/amd64, Debian GNU/Linux 13 (trixie), kernel 6.12.1"
	Drivers []Driver `json:"drivers"`
	Checks  []Check  `json:"checks"`
	Lacking int      `json:"lacking"` // lacks, and drivers that do not work for no lack that is told
}

// machine is a System with what several checks want to know of it.
type machine struct {
	System
	facts
}

// facts are found once, by newMachine.
type facts struct {
	linux, darwin, root bool
	wsl                 int    // 1, 2; 0: it is none
	container           string // "docker", "podman", ...; "" outside of one
	caps                uint64 // effective capabilities; Linux only
	distro              string // ID and ID_LIKE of os-release
	userNS, tap, kvm    bool   // set by their checks
	qemu                string // path
}

// Diagnose looks at a system. dataDir is the data directory that an agent would use. own are the drivers that this program
// has, with what they say of themselves: one that says that it cannot run does not work, whatever the checks found.
func Diagnose(s System, dataDir string, own map[string]error) *Report {
	m := &machine{System: s, facts: look(s)}
	r := &Report{System: m.describe()}
	for _, check := range []func(*machine) *Check{wsl, container, root, userNamespaces, tunDevice, overlay, kvm, qemuBinary, socket(dataDir)} {
		if c := check(m); c != nil {
			r.Checks = append(r.Checks, *c)
		}
	}
	r.Drivers = m.drivers(own)
	for _, c := range r.Checks {
		if c.State == Lacks {
			r.Lacking++
		}
	}
	for _, d := range r.Drivers {
		if !d.Works && r.Lacking == 0 {
			r.Lacking++
		}
	}
	return r
}

// drivers says of each driver whether it works.
func (m *machine) drivers(own map[string]error) []Driver {
	all := []Driver{m.netns(), {"netstack", true, "in the agent's own process, with ping, nc, curl and dig built in"}, m.qemuDriver(), m.tapDriver()}
	var out []Driver
	for _, d := range all {
		err, has := own[d.Name]
		if err != nil && d.Works {
			d.Works, d.Why = false, err.Error()
		}
		if has {
			out = append(out, d)
		}
	}
	return out
}

func (m *machine) netns() Driver {
	d := Driver{Name: "netns"}
	switch {
	case !m.linux:
		d.Why = "network namespaces are a feature of Linux"
	case m.wsl == 1:
		d.Why = "WSL 1 has no network namespaces"
	case m.privileged() && m.tap:
		d.Works, d.Why = true, "as root: the kernel's own TCP/IP, any program of this machine"
	case m.userNS && m.tap:
		d.Works, d.Why = true, "without root, in a user namespace: the kernel's own TCP/IP, any program of this machine"
	case !m.privileged() && !m.userNS:
		d.Why = "needs root or user namespaces"
	default:
		d.Why = "needs the TUN device"
	}
	return d
}

func (m *machine) qemuDriver() Driver {
	d := Driver{Name: "qemu"}
	if m.qemu == "" {
		d.Why = "QEMU is not installed"
		return d
	}
	link := "on a socket"
	if m.privileged() && m.tap {
		link = "on a TAP"
	}
	speed := "emulated, slowly"
	switch {
	case m.kvm:
		speed = "accelerated by KVM"
	case m.darwin:
		speed = "accelerated where the Hypervisor framework is there"
	}
	d.Works, d.Why = true, fmt.Sprintf("virtual machines %s, %s", link, speed)
	return d
}

func (m *machine) tapDriver() Driver {
	d := Driver{Name: "tap"}
	switch {
	case !m.linux:
		d.Why = "packet sockets and TAPs are features of Linux"
	case m.privileged() && m.tap:
		d.Works, d.Why = true, "as root: TAPs of this agent's own, and those that QEMU, libvirt or Proxmox holds"
	case !m.privileged():
		d.Why = "needs root: devices of the host are attached"
	default:
		d.Why = "needs the TUN device"
	}
	return d
}

// describe names the system in a line.
func (m *machine) describe() string {
	parts := []string{m.OS() + "/" + m.Arch()}
	if name := osRelease(m)["PRETTY_NAME"]; name != "" {
		parts = append(parts, name)
	}
	if v := m.line("/proc/sys/kernel/osrelease"); v != "" {
		parts = append(parts, "kernel "+v)
	}
	return strings.Join(parts, ", ")
}

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/vpclab/vpclab/api/agent"
)

const (
	tunPath   = "/dev/net/tun"
	kvmPath   = "/dev/kvm"
	forNetns  = "netns, tap"
	forQEMU   = "qemu"
	forRun    = "what an instance runs by itself (run:)"
	dockerRun = "docker run --cap-add NET_ADMIN --cap-add NET_RAW --cap-add SYS_ADMIN --device /dev/net/tun --security-opt apparmor=unconfined --security-opt seccomp=unconfined IMAGE"
)

// reason gives an error in the kernel's words.
func reason(err error) string {
	var failed *TrialError
	var errno syscall.Errno
	if !errors.As(err, &failed) && errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// wsl is told only where there is one.
func wsl(m *machine) *Check {
	switch m.wsl {
	case 1:
		return &Check{Name: "WSL", State: Lacks, Found: "WSL 1: no namespaces, no devices", For: forNetns,
			Fix: "change the distribution to WSL 2, in PowerShell (its name is in `wsl --list`)", Command: "wsl --set-version DISTRIBUTION 2"}
	case 2:
		return &Check{Name: "WSL", State: OK, Found: "WSL 2: a Linux kernel of its own"}
	}
	return nil
}

// container is told only inside of one.
func container(m *machine) *Check {
	if m.container == "" {
		return nil
	}
	c := &Check{Name: "container", State: OK, Found: m.container, For: forNetns}
	missing := m.missingCaps()
	if !m.root || len(missing) == 0 {
		c.For = ""
		return c
	}
	c.State, c.Found = Lacks, fmt.Sprintf("%s, without %s", m.container, strings.Join(missing, ", "))
	c.Fix, c.Command = "start the container with the capabilities and the device", dockerRun
	switch m.container {
	case "podman":
		c.Command = strings.Replace(dockerRun, "docker", "podman", 1)
	case "docker":
	default:
		c.Fix, c.Command = "give the container "+strings.Join(missing, ", ")+" and "+tunPath+", as the manual of "+m.container+" says", ""
	}
	return c
}

func root(m *machine) *Check {
	missing := m.missingCaps()
	switch {
	case !m.linux && m.root:
		return &Check{Name: "root", State: Note, Found: "uid 0; nothing here needs it"}
	case !m.linux:
		return &Check{Name: "root", State: Note, Found: fmt.Sprintf("uid %d; nothing here needs root", m.UID())}
	case len(missing) == 0:
		return &Check{Name: "root", State: OK, Found: fmt.Sprintf("uid %d, with CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN", m.UID()), For: forNetns}
	case m.root && m.container == "":
		return &Check{Name: "root", State: Lacks, Found: "uid 0, without " + strings.Join(missing, ", "), For: forNetns,
			Fix: "this root is confined, by a namespace or a service's settings: use one that is not"}
	case m.root:
		return &Check{Name: "root", State: Note, Found: "uid 0, without " + strings.Join(missing, ", "), For: forNetns}
	}
	return &Check{Name: "root", State: Note, Found: fmt.Sprintf("uid %d; user namespaces stand in for root, but not for devices of the host", m.UID()), For: "tap",
		Fix: "where those are wanted, run vpclab as root", Command: "sudo vpclab doctor"}
}

// userNamespaces tries one. Root has no need of them.
func userNamespaces(m *machine) *Check {
	if !m.linux {
		return nil
	}
	c := &Check{Name: "user namespaces", State: OK, Found: "one was made, with a network of its own", For: "netns without root"}
	err := m.Try(UserNamespace)
	if m.userNS = err == nil; m.userNS {
		return c
	}
	c.State, c.Found = Lacks, "none can be made: "+reason(err)
	m.mendUserNamespaces(c)
	if m.privileged() {
		c.State, c.Fix, c.Command = Note, "", ""
		c.Found += "; root needs none"
	}
	return c
}

// mendUserNamespaces says which of the many switches is off.
func (m *machine) mendUserNamespaces(c *Check) {
	switch {
	case m.wsl == 1:
		c.Fix = "see WSL"
	case !m.exists("/proc/self/ns/user"):
		c.Fix = "use a kernel that is built with CONFIG_USER_NS"
	case m.line("/proc/sys/kernel/unprivileged_userns_clone") == "0":
		m.sysctl(c, "kernel.unprivileged_userns_clone", "1")
	case m.line("/proc/sys/user/max_user_namespaces") == "0":
		m.sysctl(c, "user.max_user_namespaces", "15000")
	case m.line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		m.sysctl(c, "kernel.apparmor_restrict_unprivileged_userns", "0")
		c.Found += " (AppArmor restricts them)"
	case m.container == "docker" || m.container == "podman":
		c.Fix, c.Command = "start the container without the profiles that forbid them", m.container+" run --device /dev/net/tun --security-opt seccomp=unconfined --security-opt apparmor=unconfined IMAGE"
	case m.container != "":
		c.Fix = "allow them in the container, as the manual of " + m.container + " says"
	default:
		c.Fix = "no setting that is known forbids them: look for a chroot or a security module"
	}
}

func (m *machine) sysctl(c *Check, name, value string) {
	set := name + "=" + value
	c.Fix, c.Command = "switch them on; a line "+set+" in /etc/sysctl.d/vpclab.conf keeps it so", m.sudo("sysctl -w "+set)
}

// tunDevice looks whether it is there, opens it, and makes a TAP.
func tunDevice(m *machine) *Check {
	if !m.linux {
		return nil
	}
	c := &Check{Name: "TUN device", State: Lacks, For: forNetns}
	mode, err := m.Mode(tunPath)
	if err != nil {
		c.Found = tunPath + ": " + reason(err)
		m.mendTUN(c)
		return c
	}
	if err := m.Open(tunPath); err != nil {
		c.Found = fmt.Sprintf("%s (mode %04o) cannot be opened: %s", tunPath, mode.Perm(), reason(err))
		if errors.Is(err, fs.ErrPermission) && mode.Perm()&0o006 != 0o006 && !m.root {
			c.Fix, c.Command = "let everybody open it, as most distributions do: a TAP still needs a namespace of one's own", m.sudo("chmod 0666 "+tunPath)
			return c
		}
		m.mendTUN(c)
		return c
	}
	return m.tryTAP(c)
}

func (m *machine) tryTAP(c *Check) *Check {
	trial := UserTAP
	switch {
	case m.privileged():
		trial = TAP
	case !m.userNS:
		c.State, c.Found = Note, tunPath+" can be opened; no TAP was tried, for want of a namespace"
		return c
	}
	err := m.Try(trial)
	if m.tap = err == nil; m.tap {
		c.State, c.Found = OK, tunPath+": a TAP was made"
		return c
	}
	c.Found = "no TAP can be made: " + reason(err)
	c.Fix = "look for a security module or a container that forbids it"
	if m.container != "" {
		c.Fix, c.Command = "start the container with the device", dockerRun
	}
	return c
}

// mendTUN is for a device that is not there, or not behind its node.
func (m *machine) mendTUN(c *Check) {
	switch {
	case m.wsl == 1:
		c.Fix = "see WSL"
	case m.container == "docker" || m.container == "podman":
		c.Fix, c.Command = "start the container with the device", strings.Replace(dockerRun, "docker", m.container, 1)
	case m.container != "":
		c.Fix = "give the container " + tunPath + ", as the manual of " + m.container + " says"
	case m.exists("/sys/class/misc/tun") && !m.exists(tunPath):
		c.Fix, c.Command = "the driver is there, and its node is not: make it", m.sudo("mkdir -p /dev/net", "mknod -m 0666 "+tunPath+" c 10 200")
	default:
		c.Fix, c.Command = "load the driver; a line tun in /etc/modules-load.d/vpclab.conf keeps it so", m.sudo("modprobe tun")
	}
}

// overlay tries one as what an instance runs by itself gets it.
func overlay(m *machine) *Check {
	if !m.linux {
		return nil
	}
	c := &Check{Name: "overlayfs", State: OK, Found: "one was mounted", For: forRun}
	trial := UserOverlay
	switch {
	case m.privileged():
		trial = Overlay
	case !m.userNS:
		c.State, c.Found = Note, "not tried, for want of a user namespace"
		return c
	default:
		c.Found += ", in a user namespace"
	}
	err := m.Try(trial)
	if err == nil {
		return c
	}
	c.State, c.Found = Lacks, "none can be mounted: "+reason(err)
	switch {
	case errors.Is(err, syscall.ENODEV):
		c.Fix, c.Command = "load the driver", m.sudo("modprobe overlay")
	case trial == UserOverlay:
		c.Fix, c.Command = "use a kernel of 5.11 or later, which lets users mount it, or run vpclab as root", "sudo vpclab doctor"
	default:
		c.Fix = "use a root file system that overlayfs can lie over"
	}
	return c
}

// kvm makes virtual machines fast; without it they are emulated.
func kvm(m *machine) *Check {
	if !m.linux {
		return nil
	}
	c := &Check{Name: "KVM", State: OK, Found: kvmPath + " can be opened", For: "qemu at full speed"}
	err := m.Open(kvmPath)
	if m.kvm = err == nil; m.kvm {
		return c
	}
	c.State, c.Found = Lacks, kvmPath+": "+reason(err)
	cpu := m.line("/proc/cpuinfo")
	switch {
	case errors.Is(err, fs.ErrPermission) && m.container == "" && !m.root:
		c.Fix, c.Command = "join the group that may open it, and log in again", m.sudo(`usermod -aG kvm "$USER"`)
	case errors.Is(err, fs.ErrPermission) && !m.root:
		c.Fix, c.Command = "let this user open it, as root of the container", "chmod 0666 "+kvmPath
	case m.container == "docker" || m.container == "podman":
		c.Fix, c.Command = "start the container with the device", m.container+" run --device "+kvmPath+" IMAGE"
	case m.container != "":
		c.Fix = "give the container " + kvmPath + ", as the manual of " + m.container + " says"
	case m.wsl != 0:
		c.Fix, c.Command = "write nestedVirtualization=true below [wsl2] into .wslconfig in the Windows user's folder, and restart WSL in PowerShell", "wsl --shutdown"
	case hasWord(cpu, "vmx"):
		c.Fix, c.Command = "load the driver", m.sudo("modprobe kvm_intel")
	case hasWord(cpu, "svm"):
		c.Fix, c.Command = "load the driver", m.sudo("modprobe kvm_amd")
	default:
		c.Fix = "switch virtualization on in the firmware; in a virtual machine, nested virtualization on its host. Without it QEMU emulates"
	}
	return c
}

func hasWord(text, word string) bool {
	for f := range strings.FieldsSeq(text) {
		if f == word {
			return true
		}
	}
	return false
}

func qemuBinary(m *machine) *Check {
	c := &Check{Name: "QEMU", State: OK, For: forQEMU}
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[m.Arch()]
	if arch == "" {
		arch = m.Arch()
	}
	for _, name := range []string{"qemu-system-" + arch, "qemu-kvm", "/usr/libexec/qemu-kvm"} {
		if path, err := m.LookPath(name); err == nil {
			m.qemu, c.Found = path, path
			return c
		}
	}
	c.State, c.Found = Lacks, "no qemu-system-"+arch+" in PATH"
	c.Fix, c.Command = "install it", m.install(arch)
	if c.Command == "" {
		c.Fix = "install QEMU with the package manager of this system"
	}
	return c
}

// install is the command that installs QEMU.
func (m *machine) install(arch string) string {
	if m.darwin {
		return "brew install qemu"
	}
	debian := map[string]string{"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}[arch]
	fedora := map[string]string{"x86_64": "qemu-system-x86-core", "aarch64": "qemu-system-aarch64-core"}[arch]
	suse := map[string]string{"x86_64": "qemu-x86", "aarch64": "qemu-arm"}[arch]
	for _, d := range []struct{ id, command string }{
		{"debian", "apt install " + debian}, {"ubuntu", "apt install " + debian}, {"fedora", "dnf install " + fedora}, {"rhel", "dnf install qemu-kvm"},
		{"arch", "pacman -S qemu-base"}, {"alpine", "apk add qemu-system-" + arch}, {"suse", "zypper install " + suse}, {"opensuse", "zypper install " + suse},
	} {
		if hasWord(m.distro, d.id) {
			return m.sudo(d.command)
		}
	}
	return ""
}

// socket tries whether an agent could run in a data directory.
func socket(dataDir string) func(*machine) *Check {
	return func(m *machine) *Check {
		c := &Check{Name: "data directory", State: OK, For: "the agent"}
		p, err := m.Socket(dataDir)
		var failed *agent.Error
		switch {
		case err == nil && p.Moved == "":
			c.Found = dataDir
		case err == nil:
			c.Found = fmt.Sprintf("%s; its socket goes to %s: %s", dataDir, p.Socket, p.Moved)
		case errors.As(err, &failed):
			c.State, c.Found, c.Fix = Lacks, dataDir+": "+failed.Message, failed.Fix
		default:
			c.State, c.Found, c.Fix = Lacks, dataDir+": "+reason(err), "use another directory with --data-dir"
		}
		return c
	}
}

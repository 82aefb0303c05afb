package netns

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/vpclab/vpclab/instances"
)

// Driver starts netns instances: as root by itself, else with the help of a process in a user namespace. See Way.
type Driver struct{ ways }

var _ instances.Driver = (*Driver)(nil)

// New returns a driver.
func New() *Driver { return &Driver{} }

// Name implements instances.Driver.
func (*Driver) Name() string { return "netns" }

// EnterInfo is what a process has to know to run a program in an instance. Paths that are "" leave the
// host's file in view.
type EnterInfo struct {
	Netns      string `json:"netns"`      // path of the named namespace
	Hosts      string `json:"hosts"`      // shown as /etc/hosts
	ResolvConf string `json:"resolvConf"` // shown as /etc/resolv.conf
	Nsswitch   string `json:"nsswitch"`   // shown as /etc/nsswitch.conf
	Hostname   string `json:"hostname"`
}

// EnterInfoOf takes an EnterInfo out of what Instance.Info told, so that another process can enter.
func EnterInfoOf(info map[string]string) (EnterInfo, error) {
	i := EnterInfo{
		Netns: info["netns"], Hosts: info["hosts"], ResolvConf: info["resolv.conf"],
		Nsswitch: info["nsswitch.conf"], Hostname: info["hostname"],
	}
	if info[madeBy] == byHelper {
		return i, fmt.Errorf("the namespace belongs to a helper process, which only the agent can ask to run programs in it")
	}
	if info["driver"] != "netns" || i.Netns == "" {
		return i, fmt.Errorf("instance is of kind %q and cannot be entered; only netns instances can", info["driver"])
	}
	return i, nil
}

// madeBy says in Info how the namespace was made, as Way does.
const (
	madeBy   = "made by"
	byHelper = "helper"
)

func (i EnterInfo) into(info map[string]string) {
	info["netns"], info["hosts"], info["resolv.conf"] = i.Netns, i.Hosts, i.ResolvConf
	info["nsswitch.conf"], info["hostname"] = i.Nsswitch, i.Hostname
}

// namespaceDir is where ip-netns(8) looks for names.
const (
	namespaceDir    = "/run/netns"
	namespacePrefix = "vpclab-"
)

// namespaceName is the name of an instance's namespace: the last 8 hexadecimal digits of its id.
func namespaceName(id string) string {
	digits := id[strings.LastIndexByte(id, '-')+1:]
	if len(digits) >= 8 {
		digits = digits[len(digits)-8:]
	}
	if len(digits) != 8 || strings.Trim(digits, "0123456789abcdef") != "" {
		h := fnv.New32a()
		h.Write([]byte(id))
		digits = fmt.Sprintf("%08x", h.Sum32())
	}
	return namespacePrefix + digits
}

// checkID keeps ids from leaving the run directory.
func checkID(id string) error {
	if id == "" || id == "." || id == ".." || strings.ContainsAny(id, "/\x00") {
		return fmt.Errorf("instance id %q cannot name a directory", id)
	}
	return nil
}

var errClosed = errors.New("instance is closed")

package netns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vpclab/vpclab/instances"
)

// Files of an instance, in a directory of its own below the run directory.
const (
	hostsFile    = "hosts"
	resolvFile   = "resolv.conf"
	nsswitchFile = "nsswitch.conf"
	outputFile   = "run.log" // what the commands of Spec.Run print
	journalFile  = "netns.json"
)

// journal says what of an instance outlives its process: its named namespace. (A TAP goes with its
// descriptor, a mount namespace with its processes.)
type journal struct {
	Instance  string  `json:"instance"`
	Namespace string  `json:"namespace"`
	ID        spaceID `json:"id"`               // zero until the namespace has been made
	Helper    bool    `json:"helper,omitempty"` // a helper process made it: it has no name, and goes with the helper
}

// files are the files of one instance.
type files struct {
	dir     string
	journal journal
}

// newFiles makes an instance's directory, with the journal first.
func newFiles(s instances.Spec, way Way) (*files, error) {
	if err := checkID(s.ID); err != nil {
		return nil, err
	}
	if s.RunDir == "" {
		return nil, errors.New("no run directory given")
	}
	dir, err := instances.MakeDir(s)
	if err != nil {
		return nil, err
	}
	f := &files{dir: dir, journal: journal{Instance: s.ID, Namespace: namespaceName(s.ID), Helper: way == ByHelper}}
	if err := f.fill(s); err != nil {
		return nil, errors.Join(err, f.remove())
	}
	return f, nil
}

func (f *files) fill(s instances.Spec) error {
	err := f.record(spaceID{})
	if err == nil {
		err = f.writeHosts(instances.HostsFile(s, s.Hosts))
	}
	if err == nil {
		err = os.WriteFile(f.path(resolvFile), resolvConf(s), 0o644)
	}
	if err != nil {
		return err
	}
	if host, err := os.ReadFile("/etc/nsswitch.conf"); err == nil {
		return os.WriteFile(f.path(nsswitchFile), nsswitch(host), 0o644)
	}
	return nil
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

// record writes the journal, whole or not at all.
func (f *files) record(id spaceID) error {
	f.journal.ID = id
	data, err := json.Marshal(f.journal)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.path(journalFile+".new"), data, 0o644); err != nil {
		return err
	}
	return os.Rename(f.path(journalFile+".new"), f.path(journalFile))
}

// writeHosts changes the hosts file in place, since programs that run see this very file.
func (f *files) writeHosts(content []byte) error {
	file, err := os.OpenFile(f.path(hostsFile), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	return errors.Join(err, file.Truncate(int64(len(content))), file.Close())
}

// resolvConf is the content of resolv.conf(5). Without a nameserver the resolver would try localhost,
// where nothing listens: it fails at once.
func resolvConf(s instances.Spec) []byte {
	var b bytes.Buffer
	if len(s.Nameservers) == 0 {
		b.WriteString("# This VPC has no resolver; names come from /etc/hosts.\n")
	}
	for _, ns := range s.Nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", ns)
	}
	b.WriteString("options timeout:2 attempts:1\n")
	return b.Bytes()
}

// nsswitch is the host's nsswitch.conf(5) with names looked up in files and DNS only: other sources
// are daemons of the host, which would answer for the host.
func nsswitch(host []byte) []byte {
	lines := strings.Split(string(host), "\n")
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "hosts:") {
			lines[i] = "hosts: files dns"
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

func (f *files) enterInfo() EnterInfo {
	i := EnterInfo{Hosts: f.path(hostsFile), ResolvConf: f.path(resolvFile), Nsswitch: f.path(nsswitchFile)}
	if _, err := os.Stat(i.Nsswitch); err != nil {
		i.Nsswitch = ""
	}
	return i
}

// remove deletes what newFiles made, the journal last, and nothing else.
func (f *files) remove() error {
	for _, name := range []string{hostsFile, resolvFile, nsswitchFile, outputFile, journalFile + ".new", journalFile} {
		if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(f.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

package agent

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// FlowLogFiles lists the published files, oldest first.
func (n *node) FlowLogFiles(_ context.Context, r *api.FlowLogsRequest) ([]api.FlowLogFile, error) {
	return n.flowLogFiles(n.store.View(), r)
}

func (n *node) flowLogFiles(view *vpc.View, r *api.FlowLogsRequest) ([]api.FlowLogFile, error) {
	dir := filepath.Join(n.opts.DataDir, flowLogDirectory)
	all, err := flowlogs.List(dir)
	if err != nil {
		return nil, err
	}
	id := r.FlowLog
	if id != "" && !strings.HasPrefix(id, "fl-") { // an id may be of one that is deleted
		o, err := named(view, vpc.KindFlowLog, "", id)
		if err != nil {
			return nil, err
		}
		id = o.Metadata().ID
	}
	out := []api.FlowLogFile{}
	for _, f := range all {
		if (id == "" || f.FlowLogID == id) && !f.Time.Before(r.Since) {
			out = append(out, flowLogFile(view, &f))
		}
	}
	if r.Last > 0 && len(out) > r.Last {
		out = out[len(out)-r.Last:]
	}
	return out, nil
}

func flowLogFile(view *vpc.View, f *flowlogs.File) api.FlowLogFile {
	out := api.FlowLogFile{FlowLogID: f.FlowLogID, Key: f.Bucket + "/" + f.Key, Path: f.Path, Size: f.Size, Modified: f.Time}
	if fl, ok := view.FlowLog(f.FlowLogID); ok {
		out.Name, out.Resource = fl.Name, objectWord(view, fl.ResourceID)
	}
	return out
}

// FlowLogRead sends the lines of published files.
func (n *node) FlowLogRead(_ context.Context, r *api.FlowLogReadRequest, emit func(*api.FlowLogLine) error) error {
	files, err := n.flowLogFiles(n.store.View(), &r.FlowLogsRequest)
	if err != nil {
		return err
	}
	found := false
	for _, f := range files {
		if r.Key != "" && !strings.HasSuffix(f.Key, r.Key) {
			continue
		}
		found = true
		if err := readFlowLog(f, emit); err != nil {
			return err
		}
	}
	if r.Key != "" && !found {
		return &api.Error{Code: api.CodeUnknownObject, Field: "key", Message: fmt.Sprintf("no published file is called %s", r.Key), Fix: "`vpclab flowlogs list` shows them"}
	}
	return nil
}

// readFlowLog sends one file's lines as they stand; the first is the header.
func readFlowLog(f api.FlowLogFile, emit func(*api.FlowLogLine) error) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	lines := bufio.NewScanner(text)
	for first := true; lines.Scan(); first = false {
		if err := emit(&api.FlowLogLine{Key: f.Key, Header: first, Line: lines.Text()}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// timeouts are an interface's own idle timeouts, or AWS's defaults.
func timeouts(ni *vpc.NetworkInterface) []api.Timeout {
	d := conntrack.DefaultTimeouts
	t := ni.Tracking
	out := []api.Timeout{
		{Name: "tcp established", Seconds: api.SecondsOf(d.TCPEstablished), Default: true},
		{Name: "udp stream", Seconds: api.SecondsOf(d.UDPStream), Default: true},
		{Name: "udp", Seconds: api.SecondsOf(d.UDP), Default: true},
	}
	for i, own := range []api.Seconds{api.SecondsOf(t.TCPEstablished), api.SecondsOf(t.UDPStream), api.SecondsOf(t.UDP)} {
		if own != 0 {
			out[i].Seconds, out[i].Default = own, false
		}
	}
	return out
}

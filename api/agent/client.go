package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

// Client talks to the agent of one data directory. It is safe for concurrent use; each call has a connection of its
// own. Errors are *Error, or ctx's own when ctx ended.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient makes a client for the agent of dataDir. It connects only when it is used.
func NewClient(dataDir string) *Client {
	t := &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true,
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dataDir) },
	}
	return &Client{dir: dataDir, http: &http.Client{Transport: t}}
}

// Status gives the agent and what it runs.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return call[Status](ctx, c, "status", &struct{}{})
}

// Names gives the names of objects.
func (c *Client) Names(ctx context.Context, r *NamesRequest) ([]Name, error) {
	return value(call[[]Name](ctx, c, "names", r))
}

// Show gives one object.
func (c *Client) Show(ctx context.Context, r *ShowRequest) (*ShowResult, error) {
	return call[ShowResult](ctx, c, "show", r)
}

// Apply makes a lab be as its file says.
func (c *Client) Apply(ctx context.Context, r *ApplyRequest, progress func(*Progress)) (*ApplyResult, error) {
	return streamCall[Progress, ApplyResult](ctx, c, "apply", r, always(progress))
}

// Down takes labs away.
func (c *Client) Down(ctx context.Context, r *DownRequest, progress func(*Progress)) (*DownResult, error) {
	return streamCall[Progress, DownResult](ctx, c, "down", r, always(progress))
}

// Test runs tests; report gets each result as it comes, and its error ends the run.
func (c *Client) Test(ctx context.Context, r *TestRequest, report func(*TestResult) error) (*TestSummary, error) {
	return streamCall[TestResult, TestSummary](ctx, c, "test", r, report)
}

// Probe sends real packets.
func (c *Client) Probe(ctx context.Context, r *ProbeRequest) (*ProbeResult, error) {
	return call[ProbeResult](ctx, c, "probe", r)
}

// Explain says what would happen.
func (c *Client) Explain(ctx context.Context, r *ExplainRequest) (*Explanation, error) {
	return call[Explanation](ctx, c, "explain", r)
}

// Authorize adds a rule.
func (c *Client) Authorize(ctx context.Context, r *RuleRequest) (*RuleResult, error) {
	return call[RuleResult](ctx, c, "authorize", r)
}

// Revoke removes a rule.
func (c *Client) Revoke(ctx context.Context, r *RuleRequest) (*RuleResult, error) {
	return call[RuleResult](ctx, c, "revoke", r)
}

// Flows gives records, and with Follow goes on until ctx ends.
func (c *Client) Flows(ctx context.Context, r *FlowsRequest, emit func(*FlowEvent) error) error {
	_, err := streamCall[FlowEvent, struct{}](ctx, c, "flows", r, emit)
	return err
}

// Conntrack gives the halves of the flow table.
func (c *Client) Conntrack(ctx context.Context, r *ConntrackRequest) ([]ConntrackRow, error) {
	return value(call[[]ConntrackRow](ctx, c, "conntrack", r))
}

// FlowLogFiles gives the published files.
func (c *Client) FlowLogFiles(ctx context.Context, r *FlowLogsRequest) ([]FlowLogFile, error) {
	return value(call[[]FlowLogFile](ctx, c, "flowlogs", r))
}

// FlowLogRead gives the lines of published files.
func (c *Client) FlowLogRead(ctx context.Context, r *FlowLogReadRequest, emit func(*FlowLogLine) error) error {
	_, err := streamCall[FlowLogLine, struct{}](ctx, c, "flowlogs/read", r, emit)
	return err
}

// ExecTarget says how to run a program on an instance.
func (c *Client) ExecTarget(ctx context.Context, r *ExecRequest) (*ExecTarget, error) {
	return call[ExecTarget](ctx, c, "exec-target", r)
}

// WaitGone returns when no agent holds the data directory any more, or when ctx ends.
func (c *Client) WaitGone(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for Holder(c.dir) != 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// send makes a request and gives the response if its status is want; else the agent's error.
func (c *Client) send(ctx context.Context, name string, body any, want int, header ...string) (*http.Response, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent/v1/"+name, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if resp.StatusCode == want {
		return resp, nil
	}
	defer resp.Body.Close()
	var fail struct {
		Error *Error `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&fail); err != nil || fail.Error == nil {
		return nil, &Error{Code: CodeBroken, Where: SocketPath(c.dir), Message: "what answers is not an agent: " + resp.Status}
	}
	return nil, fail.Error
}

// broken says what an error of the connection means: the caller stopped, nobody answers, or the agent went away.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	return &Error{Code: CodeBroken, Where: SocketPath(c.dir), Message: "the agent went away before its answer was complete",
		Fix: "look into " + LogPath(c.dir) + " if it ran in the background; `vpclab down` clears away what it left"}
}

// call makes a request with one answer.
func call[Res any](ctx context.Context, c *Client, name string, body any) (*Res, error) {
	resp, err := c.send(ctx, name, body, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	res := new(Res)
	if err := json.NewDecoder(resp.Body).Decode(res); err != nil {
		return nil, c.broken(ctx, err)
	}
	return res, nil
}

// streamCall makes a request whose answer is JSON lines. An error of emit ends it and is returned as it is.
func streamCall[Item, Res any](ctx context.Context, c *Client, name string, body any, emit func(*Item) error) (*Res, error) {
	resp, err := c.send(ctx, name, body, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var stopped error
	res := new(Res)
	err = readLines(resp.Body, func(raw json.RawMessage) error {
		it := new(Item)
		if err := json.Unmarshal(raw, it); err != nil {
			return err
		}
		stopped = emit(it)
		return stopped
	}, res)
	switch {
	case stopped != nil:
		return nil, stopped
	case err != nil:
		return nil, c.broken(ctx, err)
	}
	return res, nil
}

func always[T any](f func(*T)) func(*T) error {
	return func(x *T) error {
		if f != nil {
			f(x)
		}
		return nil
	}
}

func value[T any](p *[]T, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return *p, nil
}

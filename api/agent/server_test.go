//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestCallKeepsEveryField(t *testing.T) {
	want := &Explanation{Verdict: Reject, Protocol: "tcp", Steps: []Step{{At: "db-1", Stage: "sg ingress", Result: Reject,
		Nearest: &Nearest{Rule: RuleRef{ID: "sgr-1", Group: "db"}, Differs: "peer", Why: "web-1 is in web"}}}, Return: ReturnPath{Text: "not reached"}}
	ask := &ExplainRequest{Lab: "l", From: "web-1", To: Target{Host: "db-1", Port: 5432, Protocol: "tcp"}, SourcePort: 7}
	_, c := serve(t, &script{explain: func(_ context.Context, r *ExplainRequest) (*Explanation, error) {
		if !reflect.DeepEqual(r, ask) {
			t.Errorf("the backend got %+v, want %+v", r, ask)
		}
		return want, nil
	}})
	got, err := c.Explain(testContext(t), ask)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestErrorsKeepTheirType(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want Error
	}{
		{"own", &Error{Code: CodeUnknownObject, Message: "no web-9", Field: "object", Where: "here", Fix: "x", Near: []string{"web-1"}},
			Error{Code: CodeUnknownObject, Message: "no web-9", Field: "object", Where: "here", Fix: "x", Near: []string{"web-1"}}},
		{"wrapped", fmt.Errorf("outer: %w", &Error{Code: CodeNoDriver, Message: "m"}), Error{Code: CodeNoDriver, Message: "m"}},
		{"model", fmt.Errorf("outer: %w", &vpc.Error{Code: "InvalidPermission.Duplicate", Message: "m", Field: "IpPermissions"}),
			Error{Code: "InvalidPermission.Duplicate", Message: "m", Field: "IpPermissions"}},
		{"other", errors.New("disk on fire"), Error{Code: CodeInternal, Message: "disk on fire"}},
		{"lab", &Error{Code: CodeInvalidLab, Message: "2 problems", Problems: []Problem{{Where: "a:1:2", Message: "x", Excerpt: "y\n^"}}},
			Error{Code: CodeInvalidLab, Message: "2 problems", Problems: []Problem{{Where: "a:1:2", Message: "x", Excerpt: "y\n^"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, client := serve(t, &script{
				show: func(context.Context, *ShowRequest) (*ShowResult, error) { return nil, c.err },
				flows: func(_ context.Context, r *FlowsRequest, emit func(*FlowEvent) error) error {
					if r.Last == 1 {
						emit(&FlowEvent{Lost: 1})
					}
					return c.err
				},
			})
			_, err := client.Show(testContext(t), &ShowRequest{Object: "x"})
			if got := wantCode(t, err, c.want.Code); !reflect.DeepEqual(*got, c.want) {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
			for _, last := range []int{0, 1} { // before and after the first line of a stream
				err := client.Flows(testContext(t), &FlowsRequest{Last: last}, func(*FlowEvent) error { return nil })
				if got := wantCode(t, err, c.want.Code); !reflect.DeepEqual(*got, c.want) {
					t.Errorf("stream with %d lines: got %+v, want %+v", last, *got, c.want)
				}
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		e    Error
		want string
	}{
		{Error{Message: "m"}, "m"},
		{Error{Message: "m", Field: "f"}, "f: m"},
		{Error{Message: "m", Field: "f", Where: "lab.yaml:1:2", Code: "X"}, "lab.yaml:1:2: f: m"},
	} {
		if got := c.e.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := (&Problem{Where: "w", Field: "f", Message: "m"}).Error(); got != "w: f: m" {
		t.Errorf("problem: %q", got)
	}
}

func TestStreamGivesItemsInOrderThenTheResult(t *testing.T) {
	const n = 5000
	_, c := serve(t, &script{test: func(_ context.Context, _ *TestRequest, report func(*TestResult) error) (*TestSummary, error) {
		for i := range n {
			if err := report(&TestResult{Number: i}); err != nil {
				return nil, err
			}
		}
		return &TestSummary{Total: n}, nil
	}})
	next := 0
	sum, err := c.Test(testContext(t), &TestRequest{}, func(r *TestResult) error {
		if r.Number != next {
			return fmt.Errorf("got %d, want %d", r.Number, next)
		}
		next++
		return nil
	})
	if err != nil || next != n || sum.Total != n {
		t.Fatalf("%d items, summary %+v, error %v", next, sum, err)
	}
}

// A line must not wait for the next one: a follower sees each record when it comes.
func TestStreamSendsALineWithoutWaitingForMore(t *testing.T) {
	seen := make(chan struct{})
	_, c := serve(t, &script{flows: func(ctx context.Context, _ *FlowsRequest, emit func(*FlowEvent) error) error {
		emit(&FlowEvent{Lost: 1})
		select {
		case <-seen:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	err := c.Flows(testContext(t), &FlowsRequest{Follow: true}, func(*FlowEvent) error { close(seen); return nil })
	if err != nil {
		t.Fatal(err)
	}
}

func TestFollowerEndsWhenItsClientGoes(t *testing.T) {
	ended := make(chan struct{})
	_, c := serve(t, &script{flows: func(ctx context.Context, _ *FlowsRequest, emit func(*FlowEvent) error) error {
		defer close(ended)
		emit(&FlowEvent{Lost: 1})
		<-ctx.Done()
		return ctx.Err()
	}})
	ctx, cancel := context.WithCancel(testContext(t))
	err := c.Flows(ctx, &FlowsRequest{Follow: true}, func(*FlowEvent) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v, want context.Canceled", err)
	}
	waitFor(t, "the backend's follower", ended)
}

func TestErrorOfAReceiverEndsTheStream(t *testing.T) {
	enough := errors.New("enough")
	ended := make(chan struct{})
	_, c := serve(t, &script{flows: func(ctx context.Context, _ *FlowsRequest, emit func(*FlowEvent) error) error {
		defer close(ended)
		for emit(&FlowEvent{Lost: 1}) == nil {
		}
		return nil
	}})
	err := c.Flows(testContext(t), &FlowsRequest{}, func(*FlowEvent) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("got %v, want the receiver's own error", err)
	}
	waitFor(t, "the backend's emit to fail", ended)
}

func TestTwoClientsAtOnce(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	_, c := serve(t, &script{status: func(context.Context) (*Status, error) {
		both.Done()
		both.Wait() // neither is answered before the other has asked
		return &Status{Agent: AgentInfo{PID: 7}}, nil
	}})
	var done sync.WaitGroup
	for range 2 {
		done.Go(func() {
			s, err := c.Status(testContext(t))
			if err != nil || s.Agent.PID != 7 {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
	done.Wait()
}

func TestShutdownEndsFollowersAndPrograms(t *testing.T) {
	var started sync.WaitGroup
	started.Add(2)
	b := &script{
		flows: func(ctx context.Context, _ *FlowsRequest, _ func(*FlowEvent) error) error {
			started.Done()
			<-ctx.Done()
			return ctx.Err()
		},
		exec: func(ctx context.Context, _ *ExecRequest, _ Streams) (int, error) {
			started.Done()
			<-ctx.Done()
			return 130, nil
		},
	}
	s, c := serve(t, b)
	var done sync.WaitGroup
	done.Go(func() {
		if err := c.Flows(testContext(t), &FlowsRequest{Follow: true}, func(*FlowEvent) error { return nil }); err == nil {
			t.Error("the follower ended without an error")
		}
	})
	done.Go(func() {
		if code, err := c.Exec(testContext(t), &ExecRequest{Argv: []string{"nc"}}, Streams{Stdout: io.Discard, Stderr: io.Discard}); code != 130 || err != nil {
			t.Errorf("exec gave %d, %v", code, err)
		}
	})
	started.Wait()
	if err := s.Shutdown(testContext(t)); err != nil {
		t.Error(err)
	}
	done.Wait()
}

func TestDownTellsTheOwnerOnlyAfterItsAnswer(t *testing.T) {
	for _, stopping := range []bool{false, true} {
		s, c := serve(t, &script{down: func(_ context.Context, _ *DownRequest, progress func(*Progress)) (*DownResult, error) {
			progress(&Progress{Action: "stop", Name: "web-1"})
			return &DownResult{Stopping: stopping, PID: 9}, nil
		}})
		var seen []string
		r, err := c.Down(testContext(t), &DownRequest{}, func(p *Progress) { seen = append(seen, p.Name) })
		if err != nil || r.PID != 9 || !reflect.DeepEqual(seen, []string{"web-1"}) {
			t.Fatalf("got %+v, progress %v, %v", r, seen, err)
		}
		if stopping {
			waitFor(t, "Stopping", s.Stopping())
			continue
		}
		select {
		case <-s.Stopping():
			t.Error("told to stop, though the result does not say so")
		default:
		}
	}
}

func TestBadRequests(t *testing.T) {
	s := NewServer(&script{})
	for _, c := range []struct {
		name, method, path, body string
		want                     string
	}{
		{"unknown path", "POST", "/v1/fly", "{}", "POST /v1/fly is no request of this agent"},
		{"wrong method", "GET", "/v1/show", "", "GET /v1/show is no request"},
		{"not JSON", "POST", "/v1/show", "web", "malformed request"},
		{"empty", "POST", "/v1/show", "", "malformed request"},
		{"unknown field", "POST", "/v1/show", `{"objekt":"web"}`, "objekt"},
		{"wrong type", "POST", "/v1/show", `{"object":7}`, "malformed request"},
		{"two objects", "POST", "/v1/show", `{"object":"a"}{}`, "something follows"},
		{"stream", "POST", "/v1/flows", `{"port":"x"}`, "malformed request"},
		{"exec without upgrade", "POST", "/v1/exec", `{"instance":"a","argv":["x"]}`, "Upgrade"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), c.want) || !strings.Contains(w.Body.String(), CodeBadRequest) {
				t.Errorf("%d %s, want 400 with %q", w.Code, w.Body, c.want)
			}
		})
	}
}

func TestStatusOfCodes(t *testing.T) {
	for code, want := range map[string]int{CodeInternal: 500, CodeUnknownObject: 404, CodeNoPermission: 403, CodeNoDriver: 501, "InvalidVpcID.NotFound": 400} {
		if got := statusOf(code); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
}

func TestApplyStreamsProgress(t *testing.T) {
	_, c := serve(t, &script{apply: func(_ context.Context, r *ApplyRequest, progress func(*Progress)) (*ApplyResult, error) {
		progress(&Progress{Action: "start", Kind: "instance", Name: string(r.File.Data), Done: 1, Total: 1})
		return &ApplyResult{Lab: r.File.Name}, nil
	}})
	var seen []Progress
	r, err := c.Apply(testContext(t), &ApplyRequest{File: File{Name: "lab.yaml", Data: []byte("a\x00b")}}, func(p *Progress) { seen = append(seen, *p) })
	if err != nil || r.Lab != "lab.yaml" || len(seen) != 1 || seen[0].Name != "a\x00b" {
		t.Errorf("got %+v, %+v, %v", r, seen, err)
	}
}

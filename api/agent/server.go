package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// maxRequest is the largest body of a request. A lab file of ten thousand instances is a few megabytes.
const maxRequest = 64 << 20

// Server answers the API's requests from a Backend. It is safe for concurrent use.
type Server struct {
	backend  Backend
	http     *http.Server
	mux      *http.ServeMux
	base     context.Context
	cancel   context.CancelFunc
	upgraded sync.WaitGroup // exec connections, which http.Server.Shutdown knows nothing of
	stopping chan struct{}
	stopOnce sync.Once
}

// NewServer makes a server for b. Call Serve, then Shutdown.
func NewServer(b Backend) *Server {
	s := &Server{backend: b, mux: http.NewServeMux(), stopping: make(chan struct{})}
	s.base, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{Handler: s, BaseContext: func(net.Listener) context.Context { return s.base }}
	s.routes()
	return s
}

// Serve answers connections of l until Shutdown or an error of l; it closes l. After Shutdown it returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Stopping is closed when a client has been told that the agent ends: its owner then calls Shutdown.
func (s *Server) Stopping() <-chan struct{} { return s.stopping }

// Shutdown ends all followers and running programs by cancelling their contexts, waits for the requests under way, and
// closes what is left when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	done := make(chan struct{})
	go func() { s.upgraded.Wait(); close(done) }()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) routes() {
	b := s.backend
	s.handle("status", unary(func(ctx context.Context, _ *struct{}) (*Status, error) { return b.Status(ctx) }))
	s.handle("names", unary(b.Names))
	s.handle("show", unary(b.Show))
	s.handle("probe", unary(b.Probe))
	s.handle("explain", unary(b.Explain))
	s.handle("authorize", unary(b.Authorize))
	s.handle("revoke", unary(b.Revoke))
	s.handle("conntrack", unary(b.Conntrack))
	s.handle("flowlogs", unary(b.FlowLogFiles))
	s.handle("exec-target", unary(b.ExecTarget))
	s.handle("apply", stream(func(ctx context.Context, r *ApplyRequest, emit func(*Progress) error) (*ApplyResult, error) {
		return b.Apply(ctx, r, func(p *Progress) { emit(p) })
	}))
	s.handle("down", s.down)
	s.handle("test", stream(b.Test))
	s.handle("flows", stream(func(ctx context.Context, r *FlowsRequest, emit func(*FlowEvent) error) (*struct{}, error) {
		return &struct{}{}, b.Flows(ctx, r, emit)
	}))
	s.handle("flowlogs/read", stream(func(ctx context.Context, r *FlowLogReadRequest, emit func(*FlowLogLine) error) (*struct{}, error) {
		return &struct{}{}, b.FlowLogRead(ctx, r, emit)
	}))
	s.handle("exec", s.exec)
	s.handle("power", unary(b.Power))
	s.handle("attach", unary(b.Attach))
	s.handle("detach", unary(b.Detach))
	s.handle("console", s.console)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, &Error{Code: CodeBadRequest, Message: fmt.Sprintf("%s %s is no request of this agent", r.Method, r.URL.Path),
			Fix: "use a client of the agent's own version (`vpclab version`)"})
	})
}

func (s *Server) handle(name string, h http.HandlerFunc) { s.mux.HandleFunc("POST /v1/"+name, h) }

// down ends the agent only after its answer is on the way.
func (s *Server) down(w http.ResponseWriter, r *http.Request) {
	stop := false
	stream(func(ctx context.Context, r *DownRequest, emit func(*Progress) error) (*DownResult, error) {
		res, err := s.backend.Down(ctx, r, func(p *Progress) { emit(p) })
		stop = err == nil && res.Stopping
		return res, err
	})(w, r)
	if stop {
		s.stopOnce.Do(func() { close(s.stopping) })
	}
}

// unary makes a handler of a call with one answer.
func unary[Req, Res any](call func(context.Context, *Req) (Res, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, err := decode[Req](w, r)
		if err != nil {
			writeError(w, err)
			return
		}
		res, err := call(r.Context(), req)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, res)
	}
}

// stream makes a handler of a call that answers with JSON lines.
func stream[Req, Item, Res any](call func(context.Context, *Req, func(*Item) error) (Res, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, err := decode[Req](w, r)
		if err != nil {
			writeError(w, err)
			return
		}
		lines := newLineWriter(w)
		defer lines.close()
		res, err := call(r.Context(), req, func(it *Item) error {
			if err := r.Context().Err(); err != nil {
				return err
			}
			return lines.emit(it)
		})
		lines.end(res, err)
	}
}

// decode reads a request. What the agent does not know is refused, not ignored: the client may rely on it.
func decode[Req any](w http.ResponseWriter, r *http.Request) (*Req, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return nil, &Error{Code: CodeBadRequest, Message: "cannot read the request: " + err.Error()}
	}
	req := new(Req)
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(req); err != nil {
		return nil, &Error{Code: CodeBadRequest, Message: "malformed request: " + err.Error(),
			Fix: "use a client of the agent's own version (`vpclab version`)"}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &Error{Code: CodeBadRequest, Message: "malformed request: something follows its JSON object"}
	}
	return req, nil
}

func writeError(w http.ResponseWriter, err error) {
	e := asError(err)
	writeJSON(w, statusOf(e.Code), struct {
		Error *Error `json:"error"`
	}{e})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		status = http.StatusInternalServerError
		raw, _ = json.Marshal(struct { // strings always marshal
			Error *Error `json:"error"`
		}{asError(err)})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(raw, '\n'))
}

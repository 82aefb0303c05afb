package netstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpclab/vpclab/instances"
)

// Exit codes of curl(1).
const (
	curlUnsupported = 1
	curlInit        = 2
	curlURL         = 3
	curlResolve     = 6
	curlConnect     = 7
	curlHTTPError   = 22
	curlWrite       = 23
	curlTimeout     = 28
	curlEmpty       = 52
	curlReceive     = 56
)

var curlLong = map[string]string{
	"silent": "s", "show-error": "S", "fail": "f", "head": "I", "include": "i", "output": "o", "write-out": "w",
	"max-time": "m", "connect-timeout": "C", "request": "X", "data": "d", "header": "H", "location": "L",
	"user-agent": "A", "interface": "B", "ipv4": "4", "ipv6": "6", "verbose": "v",
}

// curlError is a failure with curl's exit code.
type curlError struct {
	code int
	text string
}

func (e *curlError) Error() string { return e.text }

// transferred is what -w can tell about a transfer.
type transferred struct {
	status        int
	size          int64
	local, remote net.Addr
	took          time.Duration
}

type curler struct {
	sh      *shell
	o       options
	timeout time.Duration
	connect time.Duration
	out     io.Writer
	local   netip.Addr
	last    transferred
}

// curl is curl(1), as much of it as http needs. It has curl's exit codes.
func curl(ctx context.Context, sh *shell, args []string) int {
	c := &curler{sh: sh, out: sh.stdout}
	err := c.parse(args)
	if err != nil {
		return c.report(&curlError{curlInit, err.Error()})
	}
	code := 0
	for _, u := range c.o.operands {
		if got := c.report(c.get(ctx, u)); got != 0 {
			code = got
		}
	}
	return code
}

func (c *curler) parse(args []string) (err error) {
	if c.o, err = parse(args, "owmCXdHAB", "sSfIiL46v", curlLong); err != nil {
		return err
	}
	if len(c.o.operands) == 0 {
		return errors.New("no URL specified")
	}
	if src := c.o.get("B", ""); src != "" {
		if c.local, err = netip.ParseAddr(src); err != nil {
			return fmt.Errorf("--interface %s: want an address of this instance", src)
		}
	}
	switch file := c.o.get("o", "-"); file {
	case "-":
	case "/dev/null":
		c.out = io.Discard
	default:
		return fmt.Errorf("-o %s: a netstack instance has no files; use -o /dev/null or -o -", file)
	}
	return errors.Join(seconds(c.o, "m", 0, &c.timeout), seconds(c.o, "C", 0, &c.connect))
}

// report prints an error unless -s asks for silence (-S undoes that) and returns the exit code.
func (c *curler) report(err error) int {
	var failed *curlError
	if !errors.As(err, &failed) {
		return 0
	}
	if !c.o.has("s") || c.o.has("S") {
		fmt.Fprintf(c.sh.stderr, "curl: (%d) %s\n", failed.code, failed.text)
	}
	return failed.code
}

func (c *curler) get(ctx context.Context, raw string) error {
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return &curlError{curlURL, "URL rejected: " + raw}
	case u.Scheme != "http":
		return &curlError{curlUnsupported, fmt.Sprintf("Protocol %q not supported; this curl has http", u.Scheme)}
	}
	addrs, err := c.sh.lookup(ctx, u.Hostname(), c.o)
	if err != nil {
		return &curlError{curlResolve, "Could not resolve host: " + u.Hostname()}
	}
	start := time.Now()
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	c.last = transferred{}
	err = c.transfer(ctx, u, addrs, start)
	c.last.took = time.Since(start)
	c.writeOut()
	return err
}

func (c *curler) transfer(ctx context.Context, u *url.URL, addrs []netip.Addr, start time.Time) error {
	req, err := c.request(ctx, u)
	if err != nil {
		return &curlError{curlURL, err.Error()}
	}
	client, done := c.client(u.Hostname(), addrs)
	defer done()
	resp, err := client.Do(req)
	if err != nil {
		return c.failure(err, start)
	}
	defer resp.Body.Close()
	c.last.status = resp.StatusCode
	if c.o.has("f") && resp.StatusCode >= 400 {
		return &curlError{curlHTTPError, fmt.Sprintf("The requested URL returned error: %d", resp.StatusCode)}
	}
	if c.o.has("I") || c.o.has("i") {
		fmt.Fprintf(c.out, "%s %s\r\n", resp.Proto, resp.Status)
		writeHeader(c.out, resp)
	}
	body := &countWriter{w: c.out}
	_, err = io.Copy(body, resp.Body)
	c.last.size = body.n
	switch {
	case body.err != nil:
		return &curlError{curlWrite, "Failure writing output to destination"}
	case err != nil:
		return c.failure(err, start)
	}
	return nil
}

type countWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.err = err
	return n, err
}

// writeHeader writes the header with the length that net/http took out of it.
func writeHeader(w io.Writer, resp *http.Response) {
	if resp.ContentLength >= 0 && resp.Header.Get("Content-Length") == "" {
		resp.Header.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	resp.Header.Write(w)
	fmt.Fprint(w, "\r\n")
}

func (c *curler) request(ctx context.Context, u *url.URL) (*http.Request, error) {
	method := http.MethodGet
	var body io.Reader
	if data := c.o.flags["d"]; len(data) > 0 {
		method, body = http.MethodPost, strings.NewReader(strings.Join(data, "&"))
	}
	if c.o.has("I") {
		method = http.MethodHead
	}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		c.last.local, c.last.remote = info.Conn.LocalAddr(), info.Conn.RemoteAddr()
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), c.o.get("X", method), u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.o.get("A", "curl"))
	req.Header.Set("Accept", "*/*")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range c.o.flags["H"] {
		name, value, _ := strings.Cut(h, ":")
		if strings.EqualFold(name, "host") {
			req.Host = strings.TrimSpace(value)
		} else {
			req.Header.Set(name, strings.TrimSpace(value))
		}
	}
	return req, nil
}

// client dials in the instance's stack, tries all addresses of the URL's host, and follows redirects only with -L.
func (c *curler) client(host string, addrs []netip.Addr) (*http.Client, func()) {
	t := &http.Transport{DisableCompression: true, DisableKeepAlives: false, Proxy: nil}
	t.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		name, text, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, err
		}
		to := addrs
		if name != host { // a redirect to another host
			if to, err = c.sh.lookup(ctx, name, c.o); err != nil {
				return nil, &curlError{curlResolve, "Could not resolve host: " + name}
			}
		}
		return c.dial(ctx, to, uint16(port))
	}
	client := &http.Client{Transport: t}
	if !c.o.has("L") {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return client, t.CloseIdleConnections
}

// connectError marks failures before there is a connection.
type connectError struct{ error }

func (e connectError) Unwrap() error { return e.error }

func (c *curler) dial(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	if c.connect > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.connect)
		defer cancel()
	}
	var errs []error
	for _, addr := range addrs {
		conn, err := c.sh.net.Dial(ctx, "tcp", netip.AddrPortFrom(c.local, 0), netip.AddrPortFrom(addr, port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, connectError{errors.Join(errs...)}
}

// failure turns an error of the client into curl's.
func (c *curler) failure(err error, start time.Time) error {
	var own *curlError
	var connect connectError
	var u *url.Error
	took := time.Since(start).Milliseconds()
	reason := instances.ReasonOf(err)
	connecting := errors.As(err, &connect) || c.last.remote == nil
	switch {
	case errors.As(err, &own):
		return own
	case reason == instances.TimedOut && connecting:
		return &curlError{curlTimeout, fmt.Sprintf("Connection timed out after %d milliseconds", took)}
	case reason == instances.TimedOut:
		return &curlError{curlTimeout, fmt.Sprintf("Operation timed out after %d milliseconds with %d bytes received", took, c.last.size)}
	case connect.error != nil && errors.As(err, &u):
		host := ""
		if parsed, perr := url.Parse(u.URL); perr == nil {
			host = fmt.Sprintf("%s port %s", parsed.Hostname(), portOf(parsed))
		}
		return &curlError{curlConnect, fmt.Sprintf("Failed to connect to %s after %d ms: %s", host, took, complaint(connect.error))}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &curlError{curlEmpty, "Empty reply from server"}
	}
	return &curlError{curlReceive, "Recv failure: " + complaint(err)}
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "80"
}

// writeOut prints what -w asks for.
func (c *curler) writeOut() {
	format := c.o.get("w", "")
	if format == "" {
		return
	}
	ip := func(a net.Addr) (host, port string) {
		if a != nil {
			host, port, _ = net.SplitHostPort(a.String())
		}
		return host, port
	}
	localIP, localPort := ip(c.last.local)
	remoteIP, remotePort := ip(c.last.remote)
	pairs := []string{
		`\n`, "\n", `\t`, "\t", `\r`, "\r", "%%", "%",
		"%{http_code}", fmt.Sprintf("%03d", c.last.status), "%{response_code}", fmt.Sprintf("%03d", c.last.status),
		"%{size_download}", strconv.FormatInt(c.last.size, 10), "%{time_total}", fmt.Sprintf("%.6f", c.last.took.Seconds()),
		"%{local_ip}", localIP, "%{local_port}", localPort, "%{remote_ip}", remoteIP, "%{remote_port}", remotePort,
	}
	fmt.Fprint(c.sh.stdout, strings.NewReplacer(slices.Clip(pairs)...).Replace(format))
}

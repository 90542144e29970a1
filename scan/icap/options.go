package icap

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// An answer to OPTIONS without a TTL never expires (RFC 3507 section 4.10.2);
// asking again now and then costs nothing.
const (
	longestTTL  = time.Hour
	shortestTTL = time.Second
)

// service is what the server says of itself in its answer to OPTIONS, as far as
// it matters here. Transfer-Ignore and its like are not honoured: they would
// skip objects by extension.
type service struct {
	method   method
	allow204 bool
	preview  int // bytes; negative: none wanted
	istag    string
	until    time.Time
}

// service returns what is known of the service, asking when that is too old.
func (e *Engine) service(ctx context.Context) (service, error) {
	e.mu.Lock()
	s := e.known
	e.mu.Unlock()
	if time.Now().Before(s.until) {
		return s, nil
	}
	return e.options(ctx)
}

// options asks the server.
func (e *Engine) options(ctx context.Context) (service, error) {
	head, err := e.appendExtra(fmt.Appendf(nil, "OPTIONS %s ICAP/1.0\r\nHost: %s\r\nUser-Agent: Portcullis\r\n", e.uri, e.address))
	if err != nil {
		return service{}, err
	}
	head = append(head, "Encapsulated: null-body=0\r\n\r\n"...)
	var s service
	err = e.with(ctx, func(c *conn) error {
		if _, err := c.Write(head); err != nil {
			return err
		}
		s, c.keep, err = readOptions(c.in, e.method)
		return err
	})
	if err != nil {
		return service{}, err
	}
	e.mu.Lock()
	e.known = s
	e.mu.Unlock()
	return s, nil
}

// heed has the options read again when an answer's ISTag says that the service
// has changed (RFC 3507 section 4.7).
func (e *Engine) heed(istag string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if istag != "" && e.known.istag != istag {
		e.known.until = time.Time{}
	}
}

// readOptions reads the answer to OPTIONS; wanted is the configured method,
// empty for the best there is.
func readOptions(in *bufio.Reader, wanted method) (s service, keep bool, err error) {
	head, err := readICAPHead(in)
	if err != nil {
		return service{}, false, err
	}
	if head.status != 200 {
		return service{}, false, statusError(head)
	}
	s = service{
		method: wanted, allow204: head.fields.has("allow", "204"),
		preview: -1, istag: istagOf(head.fields), until: time.Now().Add(ttlOf(head.fields)),
	}
	if values := head.fields.values("preview"); len(values) == 1 {
		if n, err := strconv.ParseUint(values[0], 10, 31); err == nil {
			s.preview = int(n)
		}
	}
	if s.method == "" {
		s.method, err = bestMethod(head.fields)
	}
	// A body of options is not read, so nothing can follow it.
	keep = !head.fields.has("connection", "close")
	for _, value := range head.fields.values("encapsulated") {
		keep = keep && strings.HasPrefix(strings.ToLower(value), "null-body")
	}
	return s, keep, err
}

func bestMethod(all fields) (method, error) {
	for _, m := range []method{respmod, reqmod} {
		if all.has("methods", string(m)) {
			return m, nil
		}
	}
	return "", &scan.Error{
		Kind: scan.KindRefused, Op: "choose a method of the icap service",
		Err: fmt.Errorf("it offers %.100q", all.values("methods")),
	}
}

func ttlOf(all fields) time.Duration {
	values := all.values("options-ttl")
	if len(values) != 1 {
		return longestTTL
	}
	seconds, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil {
		return longestTTL
	}
	return min(max(time.Duration(seconds)*time.Second, shortestTTL), longestTTL)
}

// Signatures returns the service's ISTag, asked for now. It is a hint only: it is
// meant to change with the engine, but c-icap was seen to keep it from one
// signature database to another. Built is always zero. Errors are those of
// [Engine.Scan].
func (e *Engine) Signatures(ctx context.Context) (scan.Signatures, error) {
	s, err := e.options(ctx)
	return scan.Signatures{Version: strings.Trim(s.istag, `"`)}, err
}

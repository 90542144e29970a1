package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type probeCommand struct {
	ExtProc    string        `name:"extproc" xor:"where" placeholder:"ADDRESS" help:"Ask Portcullis itself, as Envoy would: host:port or unix:/path of its listen.extproc."`
	CAFile     string        `name:"ca-file" placeholder:"FILE" help:"With --extproc: TLS, with the authorities (PEM) that may have signed its certificate."`
	ServerName string        `placeholder:"NAME" help:"With --ca-file: the name in its certificate; the host of the address if not given."`
	CertFile   string        `placeholder:"FILE" help:"With --ca-file: our own certificate (PEM), if it asks for one."`
	KeyFile    string        `placeholder:"FILE" help:"With --ca-file: its private key (PEM)."`
	Proxy      string        `placeholder:"URL" help:"Reach the URL through this proxy, such as an egress Envoy with the gate."`
	Timeout    time.Duration `default:"30s" help:"How long each of the two answers may take."`
	URL        string        `arg:"" optional:"" xor:"where" help:"Where to upload, through the Envoy that has the gate: http://host:port/path."`
}

// Help is shown by --help.
func (probeCommand) Help() string {
	return `Uploads a clean text and EICAR, the harmless test virus, which is put together in
memory. Exit 0: the one passed and the other was blocked with 403. Exit 1: one
of them was not. Exit 2: it cannot be told, because nobody answers.

Examples:
  portcullis probe http://127.0.0.1:10000/upload
  portcullis probe --proxy http://egress:10000 http://example.com/
  portcullis probe --extproc 127.0.0.1:9100`
}

// uploaded is what became of one upload.
type uploaded struct {
	status int
	// cause is the gate's word for why it refused, or nothing: then the answer is
	// not the gate's, or the upload passed.
	cause  string
	passed bool
}

func (u uploaded) String() string {
	switch {
	case u.passed && u.status == 0:
		return "passed"
	case u.passed:
		return fmt.Sprintf("passed (answered with %d)", u.status)
	case u.cause != "":
		return fmt.Sprintf("%d, refused by Portcullis (%s)", u.status, u.cause)
	}
	return fmt.Sprintf("%d, not by Portcullis", u.status)
}

// Run uploads both.
func (c probeCommand) Run(ctx context.Context, p Process) error {
	upload := c.uploadHTTP
	switch {
	case c.ExtProc != "":
		upload = c.uploadExtProc
	case c.URL == "":
		return errors.New("nothing to probe: give a URL, or --extproc ADDRESS")
	case c.CAFile != "":
		return errors.New("--ca-file belongs to --extproc")
	}
	failed := false
	for _, step := range []struct {
		title, want string
		body        []byte
		right       func(uploaded) bool
	}{
		{"a clean upload", "pass", []byte("hello from portcullis probe\n"), func(u uploaded) bool { return u.passed }},
		{
			"EICAR, the harmless test virus", "403 by Portcullis (malware)", eicar(),
			func(u uploaded) bool { return u.status == http.StatusForbidden && u.cause == "malware" },
		},
	} {
		got, err := c.limited(ctx, step.body, upload)
		if err != nil {
			return err
		}
		verdict := "as it should"
		if !step.right(got) {
			verdict, failed = "WRONG, want "+step.want, true
		}
		if _, err := fmt.Fprintf(p.Stdout, "%s: %s: %s\n", step.title, got, verdict); err != nil {
			return err
		}
	}
	if failed {
		return codeError(exitNotClean)
	}
	return nil
}

func (c probeCommand) limited(ctx context.Context, body []byte, upload func(context.Context, []byte) (uploaded, error)) (uploaded, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return upload(ctx, body)
}

// uploadHTTP sends one body through whatever stands before the URL.
func (c probeCommand) uploadHTTP(ctx context.Context, body []byte) (uploaded, error) {
	proxy := func(*http.Request) (*url.URL, error) { return nil, nil } //nolint:nilnil // no proxy
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil || u.Host == "" {
			return uploaded{}, fmt.Errorf("--proxy: %q is no URL such as http://host:port", c.Proxy)
		}
		proxy = http.ProxyURL(u)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return uploaded{}, err
	}
	if req.URL.Host == "" {
		return uploaded{}, fmt.Errorf("%q is no URL such as http://host:port/path", c.URL)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Accept", "application/problem+json")
	res, err := (&http.Transport{Proxy: proxy, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return uploaded{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return uploaded{}, err
	}
	cause := causeOf(text)
	// 5xx may be an Envoy that does not reach Portcullis; anything else that is not
	// the gate's comes from the service, which the upload then has reached.
	return uploaded{status: res.StatusCode, cause: cause, passed: cause == "" && res.StatusCode < 500}, nil
}

const problemType = "urn:portcullis:"

// causeOf reads the cause out of the gate's own answer (RFC 9457).
func causeOf(text []byte) string {
	var problem struct{ Type, Cause string }
	if json.Unmarshal(text, &problem) != nil || !strings.HasPrefix(problem.Type, problemType) {
		return ""
	}
	return problem.Cause
}

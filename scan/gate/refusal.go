package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// retryAfter is what a refused client is told to wait after an ERROR, in
// seconds: longer than an engine's breaker takes to try again.
const retryAfter = 5

// Names of the headers that Portcullis sets. Whatever a client sends under
// HeaderPrefix is removed before the request goes on.
const (
	HeaderPrefix  = "x-portcullis-"
	HeaderVerdict = "x-portcullis-verdict"
)

// Header is one header line, its name in lower case.
type Header struct{ Name, Value string }

// Refusal is the answer that a client gets instead of a body.
type Refusal struct {
	Status  int
	Headers []Header
	Body    []byte
	// GRPC says that the client speaks gRPC: GRPCStatus and Message matter then.
	GRPC       bool
	GRPCStatus int
	Message    string
}

// VerdictHeader is the value of [HeaderVerdict] for a covered leg: words of our
// closed lists only, such as "CLEAN; cause=scanned".
func (d Decision) VerdictHeader() string {
	return d.Verdict.Outcome.String() + "; cause=" + string(d.Verdict.Cause)
}

// status maps a blocked leg's verdict to an HTTP status: the client's fault on
// the request leg, the gateway's on the response leg.
func status(l scan.Leg, v scan.Verdict) int {
	switch v.Outcome {
	case scan.OutcomeInfected, scan.OutcomePolicy:
		return http.StatusForbidden
	case scan.OutcomeUnscannable:
		return unscannableStatus(l, v.Cause)
	case scan.OutcomeError, scan.OutcomeUndecided, scan.OutcomeClean:
	}
	return http.StatusServiceUnavailable
}

func unscannableStatus(l scan.Leg, c scan.Cause) int {
	switch {
	case l == scan.Response:
		return http.StatusBadGateway
	case c == scan.CauseTooLarge:
		return http.StatusRequestEntityTooLarge
	case c == scan.CauseUnknownCoding:
		return http.StatusUnsupportedMediaType
	}
	return http.StatusUnprocessableEntity
}

// gRPC status codes (google.rpc.Code) of refusals.
const (
	grpcPermissionDenied   = 7
	grpcResourceExhausted  = 8
	grpcFailedPrecondition = 9
	grpcUnavailable        = 14
)

func grpcStatus(v scan.Verdict) int {
	switch v.Outcome {
	case scan.OutcomeInfected, scan.OutcomePolicy:
		return grpcPermissionDenied
	case scan.OutcomeUnscannable:
		if v.Cause == scan.CauseTooLarge {
			return grpcResourceExhausted
		}
		return grpcFailedPrecondition
	case scan.OutcomeError, scan.OutcomeUndecided, scan.OutcomeClean:
	}
	return grpcUnavailable
}

// Refuse makes the answer for a leg that is blocked. Foreign text stands in it
// only if the policy shows threat names, and then through [scan.SafeThreat].
func (x *Exchange) Refuse(l scan.Leg, d Decision) Refusal {
	p := problem{
		Type:     "urn:portcullis:" + string(d.Verdict.Cause),
		Status:   status(l, d.Verdict),
		Title:    title(l, d.Verdict),
		Exchange: x.id,
		Leg:      l.String(),
		Outcome:  d.Verdict.Outcome.String(),
		Cause:    string(d.Verdict.Cause),
	}
	if x.policy.ShowThreats {
		p.Threats = scan.SafeThreats(d.Verdict.Threats)
	}
	r := Refusal{Status: p.Status, Headers: []Header{
		{HeaderVerdict, d.VerdictHeader()},
		{"cache-control", "no-store"},
	}}
	if r.Status == http.StatusServiceUnavailable {
		r.Headers = append(r.Headers, Header{"retry-after", strconv.Itoa(retryAfter)})
	}
	if x.request.GRPC {
		r.GRPC, r.GRPCStatus = true, grpcStatus(d.Verdict)
		r.Message = p.Title + " (" + p.Outcome + ", " + p.Cause + ", exchange " + p.Exchange + ")"
		return r
	}
	mediaType, body := p.render(prefersHTML(x.request.Accept))
	r.Body = body
	r.Headers = append(r.Headers,
		Header{"content-type", mediaType},
		Header{"x-content-type-options", "nosniff"},
		Header{"content-security-policy", "default-src 'none'"},
	)
	return r
}

// title is one sentence for a person who knows nothing of Portcullis.
func title(l scan.Leg, v scan.Verdict) string {
	what := "The upload"
	if l == scan.Response {
		what = "The download"
	}
	switch v.Outcome {
	case scan.OutcomeInfected:
		return what + " was blocked because malware was found in it"
	case scan.OutcomePolicy:
		return what + " was blocked because its content is not allowed here"
	case scan.OutcomeUnscannable:
		if v.Cause == scan.CauseTooLarge {
			return what + " was blocked because it is too large to be scanned"
		}
		return what + " was blocked because it could not be scanned for malware"
	case scan.OutcomeError, scan.OutcomeUndecided, scan.OutcomeClean:
	}
	return what + " cannot be scanned for malware at the moment; try again later"
}

// problem is RFC 9457's object with our own members.
type problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Exchange string   `json:"exchange"`
	Leg      string   `json:"leg"`
	Outcome  string   `json:"outcome"`
	Cause    string   `json:"cause"`
	Threats  []string `json:"threats,omitempty"`
}

func (p problem) render(html bool) (mediaType string, body []byte) {
	if html {
		var b bytes.Buffer
		if err := page.Execute(&b, p); err == nil {
			return "text/html; charset=utf-8", b.Bytes()
		}
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and a number: cannot happen
		body = fmt.Appendf(nil, `{"status":%d}`, p.Status)
	}
	return "application/problem+json", append(body, '\n')
}

//nolint:gochecknoglobals // parsed once, never changed
var page = template.Must(template.New("refusal").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Status}} blocked</title></head>
<body>
<h1>{{.Title}}</h1>
<p>If you think this is wrong, tell your administrator the exchange id <b>{{.Exchange}}</b>.</p>
<p>{{.Outcome}}, {{.Cause}}{{range .Threats}}, {{.}}{{end}}</p>
</body></html>
`))

// prefersHTML reports whether an Accept header (RFC 9110 section 12.5.1) ranks
// text/html above JSON. Wildcards alone mean a program, which gets JSON.
func prefersHTML(accept string) bool {
	html, json := 0.0, 0.0
	for item := range strings.SplitSeq(accept, ",") {
		mediaType, params, _ := strings.Cut(item, ";")
		q := quality(params)
		switch strings.ToLower(strings.TrimSpace(mediaType)) {
		case "text/html", "application/xhtml+xml":
			html = max(html, q)
		case "application/json", "application/problem+json":
			json = max(json, q)
		}
	}
	return html > json
}

func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || q < 0 || q > 1 {
			return 0
		}
		return q
	}
	return 1
}

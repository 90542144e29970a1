package cloudmersive

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// maxReply caps what is read of a reply; real ones are under 2 KiB.
const maxReply = 64 << 10

// judge says what one reply to a scan that was sent with options proves. It is
// a pure function. body is everything the service sent after the headers, or
// more than maxReply bytes of it; it matters only for a status of 2xx.
//
// The service decides with CleanResult; the Contains members report why, and
// also what was found but allowed.
func judge(status int, header http.Header, body []byte, options http.Header) (scan.Verdict, error) {
	if status == http.StatusRequestEntityTooLarge {
		return scan.Verdict{
			Outcome: scan.OutcomeUnscannable,
			Cause:   scan.CauseTooLarge,
			Detail:  "the service takes no object of this size (status 413)",
		}, nil
	}
	if !isSuccess(status) {
		return scan.Verdict{}, statusError(status)
	}
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return scan.Verdict{}, noProof("has a content coding that was not asked for")
	}
	if len(body) > maxReply {
		return scan.Verdict{}, noProof(fmt.Sprintf("is larger than %d bytes", maxReply))
	}
	r, err := decodeReply(body)
	if err != nil {
		return scan.Verdict{}, noProof(err.Error())
	}
	switch {
	case len(r.FoundViruses) > 0:
		return r.infected(), nil
	case r.CleanResult != nil && !*r.CleanResult:
		return r.blocked(options), nil
	case r.odd != nil:
		return scan.Verdict{}, noProof(r.odd.Error())
	case r.CleanResult == nil:
		return scan.Verdict{}, noProof("has no CleanResult")
	}
	return scan.CleanVerdict(), nil
}

func isSuccess(status int) bool { return status >= 200 && status <= 299 }

func noProof(what string) error {
	return &scan.Error{Kind: scan.KindProtocol, Op: opScan, Err: errors.New("the reply " + what)}
}

func statusError(status int) error {
	kind := scan.KindProtocol
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden:
		kind = scan.KindRefused
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		kind = scan.KindOverload
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		kind = scan.KindTimeout
	case http.StatusBadGateway:
		kind = scan.KindUnreachable
	}
	text := fmt.Sprintf("status %d", status)
	if status >= 300 && status <= 399 {
		text += ": a redirect, which is not followed"
	}
	return &scan.Error{Kind: kind, Op: opScan, Err: errors.New(text)}
}

// infected holds whatever CleanResult says: viruses were listed.
func (r *reply) infected() scan.Verdict {
	var names, where []string
	for _, v := range r.FoundViruses {
		if v.VirusName != "" {
			names = append(names, v.VirusName)
		}
		where = append(where, fmt.Sprintf("%s in %s", quoted(v.VirusName), quoted(v.FileName)))
	}
	if len(names) == 0 {
		names = []string{scan.SafeThreat("")}
	}
	const most = 8 // as many as a log line can bear
	v := scan.InfectedVerdict(names[:min(len(names), most)]...)
	v.Detail = "found " + strings.Join(where[:min(len(where), most)], ", ")
	if more := len(where) - most; more > 0 {
		v.Detail += fmt.Sprintf(" and %d more", more)
	}
	return v
}

// blocked names the cause by what was found and not allowed; if all that was
// found is allowed, by what was found.
func (r *reply) blocked(options http.Header) scan.Verdict {
	v := scan.Verdict{Outcome: scan.OutcomePolicy}
	var members []string
	var allowed scan.Cause
	for _, f := range r.findings() {
		if !f.found {
			continue
		}
		members = append(members, f.member)
		switch {
		case !isAllowed(options, f.option) && v.Cause == "":
			v.Cause = f.cause
		case allowed == "":
			allowed = f.cause
		}
	}
	if v.Cause == "" {
		v.Cause = allowed
	}
	v.Detail = "blocked for " + strings.Join(members, ", ")
	if v.Cause == "" {
		v.Cause, v.Detail = scan.CauseForbiddenType, "restricted format"
	}
	if r.VerifiedFileFormat != "" {
		v.Detail += "; file format " + quoted(r.VerifiedFileFormat)
	}
	if name := r.ContentInformation.RelevantSubfileName; name != "" {
		v.Detail += "; in " + quoted(name)
	}
	return v
}

// isAllowed indexes the map, because the options are spelled as documented and
// not as Go's canonical form.
func isAllowed(options http.Header, name string) bool {
	values := options[name]
	return len(values) == 1 && values[0] == "true"
}

// quoted makes foreign text one short, printable word of a sentence.
func quoted(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%+q", s)
}

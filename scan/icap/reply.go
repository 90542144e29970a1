package icap

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/portcullis-av/portcullis/scan"
)

// answer is one answer of the server and what it proves.
type answer struct {
	// goOn says that the server wants the rest of the object: 100 after a preview.
	goOn bool
	// verdict stands if err is nil. That of a form which is CLEAN still needs
	// the whole object to have been sent.
	verdict scan.Verdict
	// clean is the form of CLEAN, or "": how the server let the object pass.
	clean cleanForm
	istag string
	// keep says that another request may follow on the connection.
	keep bool
}

// cleanForm is how a server lets an object pass.
type cleanForm string

const (
	by204  cleanForm = "status 204"
	byEcho cleanForm = "the object itself"
)

// readAnswer reads and judges one answer. CLEAN is, and only is:
//   - status 204, where it was offered (Allow: 204) or answers a preview;
//   - status 200, where echoes are accepted, with the status code of the message
//     sent (RESPMOD) or its request line (REQMOD), and a properly ended body of
//     the object's length and digest;
//
// and in both forms no field that names an infection, and not before the whole
// object was sent. The error is a protocol error, or what the connection said.
func readAnswer(in *bufio.Reader, a asked) (answer, error) {
	head, err := readICAPHead(in)
	if err == nil && head.status == 100 && a.preview && a.whole {
		// The server has all of it and was told so; some send it nevertheless.
		head, err = readICAPHead(in)
	}
	if err != nil {
		return answer{}, err
	}
	ans := answer{istag: istagOf(head.fields), keep: !head.fields.has("connection", "close")}
	var found finding
	if found.look(head.fields); found.found {
		ans.verdict, ans.keep = found.verdict(), false
		return ans, nil
	}
	switch head.status {
	case 100:
		if !a.preview || a.whole {
			return answer{}, protocolError("it wants more than the whole object")
		}
		ans.goOn = true
		return ans, nil
	case 200:
		err := ans.readModified(in, head, a, &found)
		return ans, err
	case 204:
		return ans, ans.judge204(head, a)
	case 413:
		ans.verdict = scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseTooLarge, Detail: fmt.Sprintf("status %d", head.status)}
		ans.keep = false
		return ans, nil
	}
	return answer{}, statusError(head)
}

func istagOf(all fields) string {
	if tags := all.values("istag"); len(tags) == 1 {
		return tags[0]
	}
	return ""
}

func (ans *answer) judge204(head icapHead, a asked) error {
	if !a.allow204 && !a.preview {
		return protocolError("status 204, which was not offered")
	}
	if values := head.fields.values("encapsulated"); len(values) > 0 {
		e, err := parseEncapsulated(values)
		if err != nil || e.body != "null-body" || e.head != "" {
			return protocolError("status 204 with a body")
		}
	}
	ans.pass(by204, a.whole)
	return nil
}

// pass is the verdict of a form of CLEAN. A server that lets go of an object it
// has not seen whole has skipped it; that is no statement about the rest, and
// the sender may have provoked it, so it is no ERROR either.
func (ans *answer) pass(form cleanForm, whole bool) {
	ans.clean, ans.verdict = form, scan.CleanVerdict()
	if !whole {
		ans.verdict = engineLimit("the icap server let the object pass before it had all of it")
	}
}

func engineLimit(detail string) scan.Verdict {
	return scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseEngineLimit, Detail: detail}
}

// readModified reads the message in an answer of status 200.
func (ans *answer) readModified(in *bufio.Reader, head icapHead, a asked, found *finding) error {
	e, err := parseEncapsulated(head.fields.values("encapsulated"))
	if err != nil {
		return err
	}
	var inner httpHead
	if e.headSize > 0 {
		raw := make([]byte, e.headSize)
		if _, err := io.ReadFull(in, raw); err != nil {
			return unexpected(err)
		}
		if inner, err = parseBlock(raw, e.head == "res-hdr"); err != nil {
			return err
		}
	}
	if found.look(inner.fields); found.found {
		ans.verdict, ans.keep = found.verdict(), false
		return nil
	}
	if e.head == "req-hdr" && a.method == respmod {
		return protocolError("a request in answer to a response")
	}
	if !sameStart(inner, a) {
		ans.keep = false
		ans.verdict, err = judgeChanged(inner)
		return err
	}
	if e.body == "null-body" {
		ans.verdict = blocked("the server took the content out")
		return nil
	}
	return ans.compare(in, a, found)
}

// sameStart reports whether the message has the status code or the request line
// of the one sent.
func sameStart(h httpHead, a asked) bool {
	if a.method == respmod {
		return h.response && h.status == 200
	}
	return !h.response && h.line == a.requestLine
}

// judgeChanged is the verdict of another message than the one sent. Some servers
// say by an HTTP status that scanning failed.
func judgeChanged(h httpHead) (scan.Verdict, error) {
	if h.response && (h.status >= 500 || h.status == 400 || h.status == 401) {
		return scan.Verdict{}, protocolError("it answers for the sender, status %d", h.status)
	}
	return blocked(fmt.Sprintf("the server answers in the object's place, status %d", h.status)), nil
}

func blocked(detail string) scan.Verdict {
	return scan.Verdict{Outcome: scan.OutcomePolicy, Cause: scan.CauseEnginePolicy, Detail: detail}
}

// compare reads the body of a message that begins like the one sent, and no
// further than it can be the same.
func (ans *answer) compare(in *bufio.Reader, a asked, found *finding) error {
	body := &chunked{in: in}
	digest := sha256.New()
	n, err := io.Copy(digest, io.LimitReader(body, a.size+1))
	if err != nil {
		return err
	}
	ans.keep = ans.keep && body.ended
	if found.look(body.trailer); found.found {
		ans.verdict = found.verdict()
		return nil
	}
	if !body.ended || [32]byte(digest.Sum(nil)) != a.sum {
		ans.verdict = blocked(fmt.Sprintf("the server changed the content: %d of %d bytes came back", n, a.size))
		return nil
	}
	ans.pass(byEcho, a.whole)
	if !a.acceptEcho {
		ans.verdict = engineLimit("the icap server sent the object back instead of status 204; it may not have scanned it")
	}
	return nil
}

// statusError is the failure that a status stands for. The words beside it are
// the server's, which may repeat what it was sent.
func statusError(head icapHead) error {
	kind := scan.KindProtocol
	switch head.status {
	case 401, 402, 403, 404, 407, 501, 505:
		kind = scan.KindRefused
	case 429, 503:
		kind = scan.KindOverload
	}
	return &scan.Error{Kind: kind, Op: "scan with the icap server", Err: fmt.Errorf("it says %d", head.status)}
}

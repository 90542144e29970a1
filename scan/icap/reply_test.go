package icap

import (
	"bufio"
	"crypto/sha256"
	"io"
	"net/http/httputil"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
)

// sent is the object that every answer here is about.
const sent = "the object"

func askedFor(m method) asked {
	return asked{
		method: m, requestLine: "POST /object HTTP/1.1", allow204: true, whole: true,
		size: int64(len(sent)), sum: sha256.Sum256([]byte(sent)), acceptEcho: true,
	}
}

func judge(raw string, a asked) (answer, error) {
	return readAnswer(bufio.NewReaderSize(strings.NewReader(raw), 64), a)
}

const (
	response = "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"
	respEcho = "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=27\r\n\r\n" + response + "4\r\nthe \r\n6;x=y\r\nobject\r\n0\r\n\r\n"
	reqEcho  = "ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, req-body=33\r\n\r\nPOST /object HTTP/1.1\r\nVia: x\r\n\r\n" + "a\r\nthe object\r\n0\r\n\r\n"
	forbid   = "HTTP/1.1 403 Forbidden\r\n\r\n"
	page     = "Encapsulated: res-hdr=0, res-body=26\r\n\r\n" + forbid + "2\r\nno\r\n0\r\n\r\n"
)

// clean are the answers that say CLEAN, and to which method.
var clean = map[string]method{
	"ICAP/1.0 204 Unmodified\r\n\r\n":                                           respmod,
	"ICAP/1.0 204 No Content\r\nISTag: \"a\"\r\nConnection: keep-alive\r\n\r\n": reqmod,
	"ICAP/1.0 204\r\nX-Violations-Found: 0\r\n\r\n":                             respmod,
	"ICAP/1.0 204 x\r\nEncapsulated: null-body=0\r\n\r\n":                       respmod,
	"ICAP/1.0 204 x\r\nX-Response-Info: Allowed\r\nFolded: a\r\n\tb\r\n\r\n":    respmod,
	respEcho: respmod,
	reqEcho:  reqmod,
	strings.Replace(respEcho, "0\r\n\r\n", "0\r\nTrailing: x\r\n\r\n", 1): respmod,
}

func TestClean(t *testing.T) {
	for raw, m := range clean {
		ans, err := judge(raw, askedFor(m))
		if err != nil || ans.verdict.Outcome != scan.OutcomeClean || !ans.keep {
			t.Errorf("%q: %+v, %v", raw, ans, err)
		}
		other := map[method]method{respmod: reqmod, reqmod: respmod}[m]
		ans, err = judge(raw, askedFor(other))
		if is204 := strings.Contains(raw, " 204"); (ans.verdict.Outcome == scan.OutcomeClean) != is204 {
			t.Errorf("%q to a %s: %+v, %v", raw, other, ans, err)
		}
		for n := range len(raw) {
			if ans, err := judge(raw[:n], askedFor(m)); err == nil || ans.verdict.Outcome != scan.OutcomeUndecided {
				t.Errorf("%q: %+v, %v", raw[:n], ans, err)
			}
		}
		early := askedFor(m)
		early.whole = false
		if ans, err := judge(raw, early); err != nil || ans.verdict.Outcome != scan.OutcomeUnscannable {
			t.Errorf("%q before the whole object was sent: %+v, %v", raw, ans, err)
		}
	}
}

// TestNeighbours: no answer that differs in one byte from one that is CLEAN is
// CLEAN in a way that an independent reading would not call so.
func TestNeighbours(t *testing.T) {
	for raw, m := range clean {
		for i := range len(raw) {
			for _, b := range []byte("\x00\t\n\r \",-0123459:;=AXafz~\x7f\x80\xff") {
				wantProof(t, raw[:i]+string([]byte{b})+raw[i+1:], askedFor(m))
				wantProof(t, raw[:i]+string([]byte{b})+raw[i:], askedFor(m))
			}
			wantProof(t, raw[:i]+raw[i+1:], askedFor(m))
		}
	}
}

// TestThreats: how servers name what they found.
func TestThreats(t *testing.T) {
	for raw, want := range map[string][]string{
		"ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;\r\n" + page:                   {"Eicar-Test"},
		"ICAP/1.0 200 OK\r\nx-infection-found:Type=0; Resolution=2; THREAT=a;b;c;\r\n" + page:                         {"a;b;c"},
		"ICAP/1.0 200 OK\r\nX-Infection-Found: Threat=no end\r\n" + page:                                              {"no end"},
		"ICAP/1.0 200 OK\r\nX-Infection-Found: something else\r\n" + page:                                             {"unnamed-threat"},
		"ICAP/1.0 200 OK\r\nX-Infection-Found:\r\n" + page:                                                            {"unnamed-threat"},
		"ICAP/1.0 200 OK\r\nX-Virus-ID: A.b, C.d\r\n" + page:                                                          {"A.b", "C.d"},
		"ICAP/1.0 200 OK\r\nX-Violations-Found: 1\r\n\t-\r\n\tTest.Eicar\r\n\t0\r\n\t0\r\n" + page:                    {"Test.Eicar"},
		"ICAP/1.0 200 OK\r\nX-Violations-Found: 2\r\n a\r\n A\r\n 1\r\n 0\r\n b\r\n B\r\n 2\r\n 1\r\n" + page:         {"A", "B"},
		"ICAP/1.0 200 OK\r\nX-Violations-Found: many\r\n" + page:                                                      {"unnamed-threat"},
		"ICAP/1.0 200 OK\r\nX-Response-Info: Blocked\r\n" + page:                                                      {"unnamed-threat"},
		"ICAP/1.0 200 OK\r\nX-Blocked-Reason: Infected\r\n" + page:                                                    {"Infected"},
		"ICAP/1.0 204 Unmodified\r\nX-Virus-ID: A.b\r\n\r\n":                                                          {"A.b"},
		"ICAP/1.0 403 Forbidden\r\nX-Virus-ID: A.b\r\n\r\n":                                                           {"A.b"},
		"ICAP/1.0 200 OK\r\nX-Virus-ID: A.b\r\nEncapsulated: broken\r\n\r\n":                                          {"A.b"},
		strings.Replace(respEcho, "Via: x", "X-Virus-ID: A", 1):                                                       nil, // the offset no longer fits
		"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=36\r\n\r\nHTTP/1.1 200 OK\r\nX-Virus-ID: A\r\n\r\n\r\n": nil,
		"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=34\r\n\r\nHTTP/1.1 200 OK\r\nX-Virus-ID: A\r\n\r\n":     {"A"},
		strings.Replace(respEcho, "0\r\n\r\n", "0\r\nX-Virus-ID: A\r\n\r\n", 1):                                       {"A"},
	} {
		ans, err := judge(raw, askedFor(respmod))
		if want == nil {
			if scan.KindOf(err) != scan.KindProtocol {
				t.Errorf("%q: %+v, %v", raw, ans, err)
			}
			continue
		}
		if err != nil || ans.verdict.Outcome != scan.OutcomeInfected || !slices.Equal(ans.verdict.Threats, want) {
			t.Errorf("%q: %+v, %v, want %q", raw, ans.verdict, err, want)
		}
	}
	many := "ICAP/1.0 200 OK\r\nX-Virus-ID: " + strings.Repeat("x", 1000) + strings.Repeat(",a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", 10) + "\r\n" + page
	if ans, err := judge(many, askedFor(respmod)); err != nil || len(ans.verdict.Threats) != maxThreats || len(ans.verdict.Threats[0]) != maxThreatName {
		t.Errorf("%+v, %v", ans, err)
	}
}

// TestBlocked: a message in the object's place, without a word of malware.
func TestBlocked(t *testing.T) {
	inner := func(head, chunks string) string {
		kind := "res"
		if strings.HasPrefix(head, "POST") {
			kind = "req"
		}
		return "ICAP/1.0 200 OK\r\nEncapsulated: " + kind + "-hdr=0, " + kind + "-body=" + itoa(len(head)) + "\r\n\r\n" + head + chunks
	}
	const same = "a\r\nthe object\r\n0\r\n\r\n"
	for raw, m := range map[string]method{
		inner("HTTP/1.1 403 Forbidden\r\n\r\n", same):                                             respmod,
		inner("HTTP/1.1 302 Found\r\n\r\n", same):                                                 respmod,
		inner("HTTP/1.1 404 Gone\r\n\r\n", ""):                                                    respmod,
		inner("HTTP/1.1 206 Partial\r\n\r\n", same):                                               respmod,
		inner("HTTP/1.1 200 OK\r\n\r\n", same):                                                    reqmod, // a response to a request
		inner("POST /other HTTP/1.1\r\n\r\n", same):                                               reqmod,
		inner("POST /object HTTP/1.1\r\n\r\n", "a\r\nthe Object\r\n0\r\n\r\n"):                    reqmod,
		inner("HTTP/1.1 200 OK\n\n", "9\r\nthe objec\r\n0\r\n\r\n"):                               respmod,
		inner("HTTP/1.1 200 OK\r\n\r\n", "0\r\n\r\n"):                                             respmod,
		"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n": respmod,
		"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n" + same:                              respmod,
		"ICAP/1.0 200 OK\r\nEncapsulated: req-body=0\r\n\r\n" + same:                              reqmod,
		inner("HTTP/1.1 200 OK\r\n\r\n", "a\r\nthe object\r\n1\r\nX\r\nand then it breaks"):       respmod,
	} {
		ans, err := judge(raw, askedFor(m))
		if err != nil || ans.verdict.Outcome != scan.OutcomePolicy || ans.verdict.Cause != scan.CauseEnginePolicy {
			t.Errorf("%q: %+v, %v", raw, ans, err)
		}
	}
	for _, status := range []string{"400", "401", "500", "503"} {
		raw := inner("HTTP/1.1 "+status+" x\r\n\r\n", same)
		if ans, err := judge(raw, askedFor(respmod)); scan.KindOf(err) != scan.KindProtocol || ans.verdict.Outcome != scan.OutcomeUndecided {
			t.Errorf("%q: %+v, %v", raw, ans, err)
		}
	}
}

func itoa(n int) string { return string([]byte{byte('0' + n/10), byte('0' + n%10)}) }

// proves is a reading of its own: whether raw is an answer that says CLEAN.
func proves(raw string, a asked) bool {
	if a.preview && a.whole {
		raw = regexp.MustCompile(`^ICAP/1\.0 100(?: [^\r\n\x00]*)?\r\n(?:[^\r\n\x00]+\r\n)*\r\n`).ReplaceAllString(raw, "")
	}
	head, rest, ok := strings.Cut(raw, "\r\n\r\n")
	if !ok || !a.whole || len(head) > maxHead {
		return false
	}
	named := regexp.MustCompile(`(?im)^((x-infection-found|x-virus-id|x-blocked-reason)[ \t]*:|x-response-info:\s*blocked|x-violations-found:(\s*[^0\s]|\s*0\S*[1-9]))`)
	if named.MatchString(head) {
		return false
	}
	if regexp.MustCompile(`^ICAP/1\.0 204( [^\r\n\x00]*)?(\r\n[^\r\n\x00]+)*$`).MatchString(head) {
		return a.allow204 || a.preview
	}
	if !a.acceptEcho || !regexp.MustCompile(`^ICAP/1\.0 200( [^\r\n\x00]*)?(\r\n[^\r\n\x00]+)*$`).MatchString(head) {
		return false
	}
	split := regexp.MustCompile("\r?\n\r?\n").FindStringIndex(rest)
	if split == nil || named.MatchString(rest[:split[0]]) {
		return false
	}
	inner := regexp.MustCompile(`^HTTP/\S+ 200( |\r?\n|$)`)
	if a.method == reqmod {
		inner = regexp.MustCompile(`^POST /object HTTP/1\.1(\r?\n|$)`)
	}
	body, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(rest[split[1]:])))
	return err == nil && string(body) == sent && inner.MatchString(rest[:split[0]])
}

func wantProof(t *testing.T, raw string, a asked) {
	t.Helper()
	ans, err := judge(raw, a)
	if ans.verdict.Outcome == scan.OutcomeClean && !proves(raw, a) {
		t.Errorf("%q is CLEAN to %+v", raw, a)
	}
	if ans.verdict.Outcome == scan.OutcomeClean && err != nil {
		t.Errorf("%q is CLEAN beside %v", raw, err)
	}
}

func FuzzReply(f *testing.F) {
	for raw, m := range clean {
		f.Add([]byte(raw), m == reqmod, uint8(15))
	}
	f.Add([]byte("ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 x\r\n\r\n"), false, uint8(7))
	f.Add([]byte("ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=a;\r\n"+page), true, uint8(0))
	f.Add([]byte("ICAP/1.0 200 OK\r\n"+page), true, uint8(1))
	f.Fuzz(func(t *testing.T, raw []byte, request bool, bits uint8) {
		a := askedFor(respmod)
		if request {
			a.method = reqmod
		}
		a.allow204, a.preview, a.whole, a.acceptEcho = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
		wantProof(t, string(raw), a)
		ans, err := judge(string(raw), a)
		if err == nil && ans.verdict.Outcome == scan.OutcomeUndecided && !ans.goOn {
			t.Errorf("%q: neither verdict nor error", raw)
		}
		if err != nil && ans.verdict.Outcome != scan.OutcomeUndecided && ans.verdict.Outcome != scan.OutcomeInfected {
			t.Errorf("%q: verdict %+v beside %v", raw, ans.verdict, err)
		}
		if ans.verdict.Outcome == scan.OutcomeInfected && (len(ans.verdict.Threats) == 0 || ans.verdict.Threats[0] == "") {
			t.Errorf("%q: INFECTED without a name", raw)
		}
	})
}

// FuzzName: whatever the sender's name, the request's heads stay what they are.
func FuzzName(f *testing.F) {
	for _, name := range []string{"", "a.txt", "../../x", "a\r\nX: y", `a"; filename="b`, "\xff\u202e", strings.Repeat("ü", 500), "..", "a b%20"} {
		f.Add(name)
	}
	plain := regexp.MustCompile(`^GET /[A-Za-z0-9._~%-]{1,400} HTTP/1\.1\r\nHost: portcullis\.invalid\r\n\r\n` +
		`HTTP/1\.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 3\r\n` +
		`Content-Disposition: attachment; filename="[A-Za-z0-9._~ -]{1,128}"; filename\*=UTF-8''[A-Za-z0-9._~%-]{1,400}\r\n\r\n$`)
	f.Fuzz(func(t *testing.T, name string) {
		e := &Engine{sendFileName: true, uri: "icap://h:1/s", address: "h:1"}
		r, err := e.request(service{method: respmod}, scan.Object{Name: name, Size: 3})
		if err != nil {
			t.Fatal(err)
		}
		_, message, _ := strings.Cut(string(r.head), "\r\n\r\n")
		if !plain.MatchString(message) {
			t.Errorf("%q: %q", name, message)
		}
	})
}

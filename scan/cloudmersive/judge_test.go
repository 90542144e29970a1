package cloudmersive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
)

func judgeOK(body string, options http.Header) (scan.Verdict, error) {
	return judge(http.StatusOK, http.Header{}, []byte(body), options)
}

// These replies, and only such, prove an object clean.
func TestJudgeClean(t *testing.T) {
	for _, body := range []string{
		`{"CleanResult":true}`,
		`{"CleanResult":true,"FoundViruses":null}`,
		` { "FoundViruses" : [] , "CleanResult" : true } ` + "\r\n",
		`{"CleanResult":true,"CleanResult":true}`,
		`{"\u0043leanResult":true}`,
		`{"CleanResult":true,"Newer":{"CleanResult":false}}`,
		`{"CleanResult":true,"ContainsMacros":true,"ContainsHtml":null,"VerifiedFileFormat":null,"ContentInformation":null}`,
	} {
		v, err := judgeOK(body, nil)
		if err != nil || !cmp.Equal(v, scan.CleanVerdict()) {
			t.Errorf("%s: %+v, %v; want CLEAN", body, v, err)
		}
	}
}

// A reply that proves nothing is an error of KindProtocol.
func TestJudgeNoProof(t *testing.T) {
	for _, body := range []string{
		``, ` `, `null`, `true`, `"CleanResult"`, `[]`, `{}`, `[{"CleanResult":true}]`,
		`{"CleanResult":null}`,
		`{"CleanResult":"true"}`,
		`{"CleanResult":"false"}`,
		`{"CleanResult":1}`,
		`{"CleanResult":[true]}`,
		`{"CleanResult":{}}`,
		`{"cleanResult":true}`,
		`{"CleanResult":true,"cleanresult":false}`,
		`{"CleanResult":true,"foundviruses":[{"VirusName":"x"}]}`,
		`{"CleanResult":true,"CleanResult":false}`,
		`{"CleanResult":false,"CleanResult":true}`,
		`{"CleanResult":true,"FoundViruses":[{"VirusName":"x"}],"FoundViruses":[]}`,
		`{"CleanResult":true,"FoundViruses":{}}`,
		`{"CleanResult":true,"FoundViruses":""}`,
		`{"CleanResult":true,"FoundViruses":false}`,
		`{"CleanResult":true,"ContainsScript":"no"}`,
		`{"CleanResult":true,"ContentInformation":[]}`,
		`{"CleanResult":true`,
		`{"CleanResult":true}}`,
		`{"CleanResult":true}{"CleanResult":true}`,
		`{"CleanResult":true} x`,
		"\ufeff" + `{"CleanResult":true}`,
		`{"Result":{"CleanResult":true}}`,
		`{'CleanResult':true}`,
		`{"CleanResult":True}`,
		`<html><body>{"CleanResult":true}</body></html>`,
		`<VirusScanResult><CleanResult>true</CleanResult></VirusScanResult>`,
		`{"CleanResult":true,"x":"` + strings.Repeat("a", maxReply) + `"}`,
	} {
		v, err := judgeOK(body, nil)
		if err == nil || scan.KindOf(err) != scan.KindProtocol || v.Outcome != scan.OutcomeUndecided {
			t.Errorf("%.80s: %+v, %v; want an error of KindProtocol", body, v, err)
		}
	}
}

// Every cut of a real reply proves nothing.
func TestJudgeTruncated(t *testing.T) {
	whole := `{"CleanResult":true,"FoundViruses":null,"ContainsMacros":false,"ContentInformation":{"ContainsJSON":true}}`
	for n := range len(whole) {
		if v, err := judgeOK(whole[:n], nil); err == nil {
			t.Errorf("%s: %+v, want an error", whole[:n], v)
		}
	}
}

func TestJudgeContentCoding(t *testing.T) {
	_, err := judge(http.StatusOK, http.Header{"Content-Encoding": {"gzip"}}, []byte(`{"CleanResult":true}`), nil)
	wantKind(t, err, scan.KindProtocol)
}

// Viruses decide, whatever CleanResult says and however odd the rest is.
func TestJudgeInfected(t *testing.T) {
	for body, want := range map[string][]string{
		`{"CleanResult":false,"FoundViruses":[{"FileName":"a","VirusName":"One"},{"VirusName":"Two"}]}`: {"One", "Two"},
		`{"CleanResult":true,"FoundViruses":[{"VirusName":"One"}]}`:                                     {"One"},
		`{"FoundViruses":[{"VirusName":"One"}]}`:                                                        {"One"},
		`{"CleanResult":"yes","FoundViruses":[{"VirusName":"One"}]}`:                                    {"One"},
		`{"CleanResult":true,"FoundViruses":[null]}`:                                                    {"unnamed-threat"},
		`{"CleanResult":true,"FoundViruses":[{}]}`:                                                      {"unnamed-threat"},
		`{"CleanResult":true,"FoundViruses":[7]}`:                                                       {"unnamed-threat"},
		`{"CleanResult":false,"ContainsMacros":true,"FoundViruses":[{"VirusName":"a\r\nb"}]}`:           {"a\r\nb"},
	} {
		v, err := judgeOK(body, nil)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if v.Outcome != scan.OutcomeInfected || v.Cause != scan.CauseMalware || !slices.Equal(v.Threats, want) {
			t.Errorf("%s: %+v, want INFECTED %q", body, v, want)
		}
		if strings.ContainsAny(v.Detail, "\r\n") {
			t.Errorf("%s: detail %q holds a line end", body, v.Detail)
		}
	}
}

// A block without a virus is POLICY, its cause what was found and not allowed.
func TestJudgeBlocked(t *testing.T) {
	for _, c := range []struct {
		members string
		allowed []string
		cause   scan.Cause
		detail  string
	}{
		{``, nil, scan.CauseForbiddenType, "restricted format"},
		{`"FoundViruses":[]`, nil, scan.CauseForbiddenType, "restricted format"},
		{`"VerifiedFileFormat":".exe"`, nil, scan.CauseForbiddenType, `restricted format; file format ".exe"`},
		{`"ContainsPasswordProtectedFile":true`, nil, scan.CauseEncrypted, "blocked for ContainsPasswordProtectedFile"},
		{`"ContainsUnsafeArchive":true`, nil, scan.CauseBomb, "blocked for ContainsUnsafeArchive"},
		{`"ContainsMacros":true`, nil, scan.CauseMacro, "blocked for ContainsMacros"},
		{`"ContainsExecutable":true`, nil, scan.CauseForbiddenType, "blocked for ContainsExecutable"},
		{`"ContainsRestrictedFileFormat":true`, nil, scan.CauseForbiddenType, "blocked for ContainsRestrictedFileFormat"},
		{`"ContainsScript":true`, nil, scan.CauseActiveContent, "blocked for ContainsScript"},
		{`"ContainsOleEmbeddedObject":true`, nil, scan.CauseActiveContent, "blocked for ContainsOleEmbeddedObject"},
		{`"ContainsUnwantedAction":true`, nil, scan.CauseActiveContent, "blocked for ContainsUnwantedAction"},
		{`"ContainsXmlExternalEntities":true`, nil, scan.CauseActiveContent, "blocked for ContainsXmlExternalEntities"},
		{`"ContainsInsecureDeserialization":true`, nil, scan.CauseActiveContent, "blocked for ContainsInsecureDeserialization"},
		{`"ContainsHtml":true`, nil, scan.CauseActiveContent, "blocked for ContainsHtml"},
		{`"ContainsInvalidFile":true`, nil, scan.CauseInvalidFile, "blocked for ContainsInvalidFile"},
		{`"ContainsScript":true,"ContainsMacros":true`, nil, scan.CauseMacro, "blocked for ContainsMacros, ContainsScript"},
		{
			`"ContainsScript":true,"ContainsMacros":true`,
			[]string{"allowMacros"},
			scan.CauseActiveContent, "blocked for ContainsMacros, ContainsScript",
		},
		{`"ContainsMacros":true`, []string{"allowMacros"}, scan.CauseMacro, "blocked for ContainsMacros"},
		{
			`"ContainsMacros":true,"ContentInformation":{"RelevantSubfileName":"a\nb.doc"}`, nil,
			scan.CauseMacro, `blocked for ContainsMacros; in "a\nb.doc"`,
		},
		{`"ContainsMacros":true,"ContainsScript":"odd"`, nil, scan.CauseMacro, "blocked for ContainsMacros"},
	} {
		body := `{"CleanResult":false}`
		if c.members != "" {
			body = `{"CleanResult":false,` + c.members + `}`
		}
		options := http.Header{}
		for _, name := range c.allowed {
			options[name] = []string{"true"}
		}
		v, err := judgeOK(body, options)
		want := scan.Verdict{Outcome: scan.OutcomePolicy, Cause: c.cause, Detail: c.detail}
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if diff := cmp.Diff(want, v); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", body, diff)
		}
	}
}

// All members of the reply reach the struct.
func TestDecodeEveryMember(t *testing.T) {
	r := &reply{}
	var members []string
	for name := range r.fields() {
		switch name {
		case "FoundViruses":
			members = append(members, `"FoundViruses":[{"FileName":"f","VirusName":"v"}]`)
		case "VerifiedFileFormat":
			members = append(members, `"VerifiedFileFormat":".pdf"`)
		case "ContentInformation":
			members = append(members, `"ContentInformation":{"ContainsJSON":true,"ContainsXML":true,"ContainsImage":true,`+
				`"Hash_SHA1":"h","RelevantSubfileName":"n","RelevantSubfileHash_SHA1":"s","IsAuthenticodeSigned":true}`)
		default:
			members = append(members, fmt.Sprintf("%q:true", name))
		}
	}
	got, err := decodeReply([]byte("{" + strings.Join(members, ",") + "}"))
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := &reply{
		CleanResult:  &yes,
		FoundViruses: []foundVirus{{FileName: "f", VirusName: "v"}},

		ContainsExecutable: true, ContainsInvalidFile: true, ContainsScript: true,
		ContainsPasswordProtectedFile: true, ContainsRestrictedFileFormat: true, ContainsMacros: true,
		ContainsXMLExternalEntities: true, ContainsInsecureDeserialization: true, ContainsHTML: true,
		ContainsUnsafeArchive: true, ContainsOLEEmbeddedObject: true, ContainsUnwantedAction: true,
		VerifiedFileFormat: ".pdf",
		ContentInformation: contentInformation{
			ContainsJSON: true, ContainsXML: true, ContainsImage: true, HashSHA1: "h",
			RelevantSubfileName: "n", RelevantSubfileHashSHA1: "s", IsAuthenticodeSigned: true,
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(reply{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// No reply but a real proof gives CLEAN, and nothing gives both or neither of
// verdict and error.
func FuzzReply(f *testing.F) {
	for _, body := range []string{
		`{"CleanResult":true}`, `{"CleanResult":true,"FoundViruses":null}`, `{"CleanResult":false}`,
		`{"CleanResult":true,"CleanResult":false}`, `{"CleanResult":"true"}`, `{"cleanResult":true}`,
		`{"CleanResult":true,"FoundViruses":[{"FileName":null,"VirusName":"x"}]}`, `{"CleanResult":true} {}`,
		`{"CleanResult":true,"ContentInformation":{"Hash_SHA1":""}}`, `{"\u0043leanResult":true}`, `<html>`, ``,
	} {
		f.Add(200, "", []byte(body))
	}
	f.Add(413, "", []byte(""))
	f.Add(200, "gzip", []byte(`{"CleanResult":true}`))
	f.Add(307, "", []byte(`{"CleanResult":true}`))
	f.Fuzz(func(t *testing.T, status int, coding string, body []byte) {
		v, err := judge(status, http.Header{"Content-Encoding": {coding}}, body, nil)
		if err != nil {
			var typed *scan.Error
			if !errors.As(err, &typed) || v.Outcome != scan.OutcomeUndecided {
				t.Fatalf("%T %v with verdict %+v", err, err, v)
			}
			return
		}
		switch v.Outcome {
		case scan.OutcomeClean:
			if why := notAProof(status, body); why != "" {
				t.Fatalf("CLEAN although %s: %d %q", why, status, body)
			}
		case scan.OutcomeInfected, scan.OutcomePolicy, scan.OutcomeUnscannable:
		case scan.OutcomeUndecided, scan.OutcomeError:
			t.Fatalf("no error and no verdict: %+v", v)
		}
		if !slices.Contains(scan.Causes(), v.Cause) {
			t.Fatalf("unknown cause %q", v.Cause)
		}
	})
}

// notAProof walks the tokens of a reply by itself; "" means it is a proof.
func notAProof(status int, body []byte) string {
	if status < 200 || status > 299 || len(body) > 64<<10 || !json.Valid(body) {
		return "the status, size or form is wrong"
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	depth, key, said := 0, "", 0
	isKey := false // whether the next token at depth 1 is a name
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err.Error()
		}
		if depth == 0 && token != json.Delim('{') {
			return "it is no object"
		}
		if depth == 1 && isKey && token != json.Delim('}') {
			key, _ = token.(string)
			isKey = false
			continue
		}
		if depth == 1 && key == "CleanResult" && !isKey {
			if token != true {
				return "CleanResult is not true"
			}
			said++
		}
		if depth == 1 && key == "FoundViruses" && !isKey && token != nil && token != json.Delim('[') {
			return "FoundViruses is odd"
		}
		if depth == 2 && key == "FoundViruses" && token != json.Delim(']') {
			return "a virus is listed"
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		isKey = depth == 1
	}
	if said == 0 {
		return "CleanResult is missing"
	}
	return ""
}

package content_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// lines joins its arguments with CRLF.
func lines(l ...string) string { return strings.Join(l, "\r\n") }

// TestRealClientsAreAccepted holds bodies in the form that real clients send.
func TestRealClientsAreAccepted(t *testing.T) {
	e := string(eicar())
	rows := []struct {
		name, contentType, body string
		want                    []string // contents of the parts, in order
	}{
		{"Chromium", "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", lines(
			`------WebKitFormBoundary7MA4YWxkTrZu0gW`, `Content-Disposition: form-data; name="note"`, ``, `hello`,
			`------WebKitFormBoundary7MA4YWxkTrZu0gW`, `Content-Disposition: form-data; name="file"; filename="a%22b.com"`, `Content-Type: application/x-msdownload`, ``, e,
			`------WebKitFormBoundary7MA4YWxkTrZu0gW--`, ``), []string{"hello", e}},
		{"Firefox", "multipart/form-data; boundary=----geckoformboundary4a7c0e", lines(
			`------geckoformboundary4a7c0e`, `Content-Disposition: form-data; name="file"; filename="überraschung.txt"`, `Content-Type: text/plain`, ``, e,
			`------geckoformboundary4a7c0e--`, ``), []string{e}},
		{"Firefox with charset", "multipart/form-data; boundary=----geckoformboundary4a7;charset=UTF-8", lines(
			`------geckoformboundary4a7`, `Content-Disposition: form-data; name="x"`, ``, e, `------geckoformboundary4a7--`, ``), []string{e}},
		{"Safari, empty file input", "multipart/form-data; boundary=----WebKitFormBoundaryx0", lines(
			`------WebKitFormBoundaryx0`, `Content-Disposition: form-data; name="f"; filename=""`, `Content-Type: application/octet-stream`, ``, ``,
			`------WebKitFormBoundaryx0`, `Content-Disposition: form-data; name="g"`, ``, e, `------WebKitFormBoundaryx0--`, ``), []string{"", e}},
		{"Chromium, no field", "multipart/form-data; boundary=----WebKitFormBoundaryx0", "------WebKitFormBoundaryx0--\r\n", nil},
		{"Android sample", "multipart/form-data;boundary=*****", lines(
			`--*****`, `Content-Disposition: form-data; name="uploaded_file";filename="/sdcard/a.bin"`, ``, e, `--*****--`, ``), []string{e}},
		{"Python recipe", "multipart/form-data; boundary=----------ThIs_Is_tHe_bouNdaRY_$", lines(
			`------------ThIs_Is_tHe_bouNdaRY_$`, `Content-Disposition: form-data; name="f"; filename="a"`, `Content-Type: text/plain`, ``, e, `------------ThIs_Is_tHe_bouNdaRY_$--`, ``), []string{e}},
		{"curl", "multipart/form-data; boundary=------------------------d74496d66958873e", lines(
			`--------------------------d74496d66958873e`, `Content-Disposition: form-data; name="file"; filename="a\"b.bin"`, `Content-Type: application/octet-stream`, ``, e,
			`--------------------------d74496d66958873e--`, ``), []string{e}},
		{"curl, several files", "multipart/form-data; boundary=------------------------aa", lines(
			`--------------------------aa`, `Content-Disposition: form-data; name="files"`, `Content-Type: multipart/mixed; boundary=------------------------bb`, ``,
			`--------------------------bb`, `Content-Disposition: attachment; filename="one"`, `Content-Type: text/plain`, ``, e,
			`--------------------------bb--`, ``, `--------------------------aa--`, ``), []string{"", e}},
		{"Python requests", "multipart/form-data; boundary=0f3a8c1d2e4b5a697887a6b5c4d3e2f1", lines(
			`--0f3a8c1d2e4b5a697887a6b5c4d3e2f1`, `Content-Disposition: form-data; name="file"; filename="x.bin"`, ``, e,
			`--0f3a8c1d2e4b5a697887a6b5c4d3e2f1--`, ``), []string{e}},
		{"urllib3 with a file name in RFC 2231 form", "multipart/form-data; boundary=abc", lines(
			`--abc`, `Content-Disposition: form-data; name="file"; filename*=utf-8''%C3%BC.txt`, ``, e, `--abc--`, ``), []string{e}},
		{"aiohttp", "multipart/form-data; boundary=7c8d", lines(
			`--7c8d`, `Content-Type: text/plain; charset=utf-8`, `Content-Disposition: form-data; name="a"`, ``, `1`,
			`--7c8d`, `Content-Type: application/octet-stream`, `Content-Length: 68`, `Content-Disposition: form-data; name="f"; filename="f"; filename*=utf-8''f`, ``, e, `--7c8d--`, ``), []string{"1", e}},
		{"undici and fetch", "multipart/form-data; boundary=----formdata-undici-027349523212", lines(
			`------formdata-undici-027349523212`, `Content-Disposition: form-data; name="file"; filename="blob"`, `Content-Type: application/octet-stream`, ``, e,
			`------formdata-undici-027349523212--`, ``), []string{e}},
		{"axios with form-data", "multipart/form-data; boundary=--------------------------515890814546601021194782", lines(
			`----------------------------515890814546601021194782`, `Content-Disposition: form-data; name="file"; filename="a.txt"`, `Content-Type: text/plain`, ``, e,
			`----------------------------515890814546601021194782--`, ``), []string{e}},
		{"Postman", "multipart/form-data; boundary=--------------------------929403842384209384", lines(
			`----------------------------929403842384209384`, `Content-Disposition: form-data; name="f"; filename="a.pdf"`, `Content-Type: application/pdf`, ``, e,
			`----------------------------929403842384209384--`, ``), []string{e}},
		{".NET", `multipart/form-data; boundary="5c2b1c2e-93d4-4b2c-a4ac-1f6e7f5c4d9a"`, lines(
			`--5c2b1c2e-93d4-4b2c-a4ac-1f6e7f5c4d9a`, `Content-Type: application/octet-stream`, `Content-Disposition: form-data; name=file; filename=a.bin; filename*=utf-8''a.bin`, ``, e,
			`--5c2b1c2e-93d4-4b2c-a4ac-1f6e7f5c4d9a--`, ``), []string{e}},
		{"Apache HttpClient", "multipart/form-data; boundary=Xy_-z; charset=UTF-8", lines(
			`--Xy_-z`, `Content-Disposition: form-data; name="f"; filename="a"`, `Content-Type: application/octet-stream`, `Content-Transfer-Encoding: binary`, ``, e,
			`--Xy_-z`, `Content-Disposition: form-data; name="t"`, `Content-Type: text/plain; charset=ISO-8859-1`, `Content-Transfer-Encoding: 8bit`, ``, `plain`, `--Xy_-z--`, ``), []string{e, "plain"}},
		{"OkHttp", "multipart/form-data; boundary=a1b2c3d4-0000", lines(
			`--a1b2c3d4-0000`, `Content-Disposition: form-data; name="f"; filename="a"`, `Content-Type: image/png`, `Content-Length: 68`, ``, e, `--a1b2c3d4-0000--`, ``), []string{e}},
		{"Ruby multipart-post", "multipart/form-data; boundary=-----------RubyMultipartPost-ab12", lines(
			`-------------RubyMultipartPost-ab12`, `Content-Disposition: form-data; name="f"; filename="a"`, `Content-Length: 68`, `Content-Type: text/plain`, `Content-Transfer-Encoding: binary`, ``, e, `-------------RubyMultipartPost-ab12--`, ``), []string{e}},
		{"Perl LWP", "multipart/form-data; boundary=xYzZY", lines(`--xYzZY`, `Content-Disposition: form-data; name="f"; filename="a"`, `Content-Type: text/plain`, ``, e, `--xYzZY--`, ``), []string{e}},
		{"SOAP with MTOM", `multipart/related; type="application/xop+xml"; boundary="uuid:7a4f-11"; start="<root@cxf.apache.org>"; start-info="text/xml"`, lines(
			``, `--uuid:7a4f-11`, `Content-Type: application/xop+xml; charset=UTF-8; type="text/xml"`, `Content-Transfer-Encoding: binary`, `Content-ID: <root@cxf.apache.org>`, ``, `<Envelope/>`,
			`--uuid:7a4f-11`, `Content-Type: application/octet-stream`, `Content-Transfer-Encoding: binary`, `Content-ID: <a@cxf.apache.org>`, `Content-Disposition: attachment;name="f"`, ``, e, `--uuid:7a4f-11--`), []string{"<Envelope/>", e}},
		{"JavaMail boundary", `multipart/related; boundary="----=_Part_12_345.678"`, lines(
			`------=_Part_12_345.678`, `Content-Type: text/plain`, ``, "title\r\n---------\r\n"+e, `------=_Part_12_345.678--`, ``), []string{"title\r\n---------\r\n" + e}},
		{"OData batch", "multipart/mixed; boundary=batch_36522ad7", lines(
			`--batch_36522ad7`, `Content-Type: multipart/mixed; boundary=changeset_77162fcd`, ``,
			`--changeset_77162fcd`, `Content-Type: application/http`, `Content-Transfer-Encoding: binary`, `Content-ID: 1`, ``, `POST /Files HTTP/1.1`, `Content-Type: application/octet-stream`, ``, e,
			`--changeset_77162fcd--`, ``, `--batch_36522ad7--`, ``), []string{"", "POST /Files HTTP/1.1\r\nContent-Type: application/octet-stream\r\n\r\n" + e}},
		{"GraphQL", "multipart/form-data; boundary=gql", lines(
			`--gql`, `Content-Disposition: form-data; name="operations"`, ``, `{"query":"mutation($f:Upload!){up(f:$f)}","variables":{"f":null}}`,
			`--gql`, `Content-Disposition: form-data; name="map"`, ``, `{"0":["variables.f"]}`,
			`--gql`, `Content-Disposition: form-data; name="0"; filename="a.txt"`, `Content-Type: text/plain`, ``, e, `--gql--`, ``), []string{"", "", e}},
		{"S3 POST", "multipart/form-data; boundary=9431149156168", lines(
			`--9431149156168`, `Content-Disposition: form-data; name="key"`, ``, `user/a.txt`,
			`--9431149156168`, `Content-Disposition: form-data; name="file"; filename="a.txt"`, `Content-Type: text/plain`, ``, e, `--9431149156168--`), []string{"user/a.txt", e}},
		{"quoted boundary with all legal punctuation", `multipart/form-data; boundary="a'()+_-./:=?z"`, lines(
			`--a'()+_-./:=?z`, `Content-Disposition: form-data; name="f"`, ``, e, `--a'()+_-./:=?z--`, ``), []string{e}},
		{"quoted boundary with comma and space", `multipart/form-data; boundary="a, b"`, lines(
			`--a, b`, `Content-Disposition: form-data; name="f"`, ``, e, `--a, b--`, ``), []string{e}},
		{"media type in capitals", "Multipart/Form-Data; Boundary=AbC", lines(
			`--AbC`, `content-disposition: Form-Data; NAME="f"`, ``, e, `--AbC--`, ``), []string{e}},
		{"boundary of 70 characters", "multipart/form-data; boundary=" + strings.Repeat("b", 70), lines(
			`--`+strings.Repeat("b", 70), `Content-Disposition: form-data; name="f"`, ``, e, `--`+strings.Repeat("b", 70)+`--`, ``), []string{e}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u := unwrap(t, []byte(row.body), labelled(row.contentType), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			for i, want := range row.want {
				if want != "" && !u.has([]byte(want)) {
					t.Errorf("part %d is no object; objects %q", i, u.paths)
				}
			}
		})
	}
}

func TestGoClientIsAccepted(t *testing.T) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := range 40 {
		f, err := w.CreateFormFile(fmt.Sprintf("f%d", i), fmt.Sprintf("a%d\".txt", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(bytes.Repeat([]byte{byte(i), '\r', '\n', '-', '-'}, i*1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	u := unwrap(t, b.Bytes(), labelled(w.FormDataContentType()), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	for i := 1; i < 40; i++ { // the first part is empty
		u.wantObject(t, fmt.Sprintf("body/part[%d]", i), bytes.Repeat([]byte{byte(i), '\r', '\n', '-', '-'}, i*1000))
	}
}

func TestNestedPartsHavePathsAndNames(t *testing.T) {
	body := lines(`--a`, `Content-Disposition: form-data; name="files"; filename="all.gz"`, `Content-Type: multipart/mixed; boundary=b`, ``,
		`--b`, `Content-Disposition: attachment; filename="one"`, `Content-Encoding: gzip`, ``, string(gz(t, eicar())), `--b--`, ``, `--a--`)
	u := unwrap(t, gz(t, []byte(body)), labelled("multipart/form-data; boundary=a", "gzip"), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/gzip/part[0]/part[0]/gzip", eicar())
	if got := u.names["body/gzip/part[0]"]; got != "all.gz" {
		t.Errorf("name of the outer part is %q", got)
	}
	extended := form(`Content-Disposition: form-data; name="f"; filename*=UTF-8'en'%C3%BC.txt`, "data")
	u = unwrap(t, []byte(extended), labelled("multipart/form-data; boundary=b"), scan.ContentLimits{}, content.Config{})
	if got := u.names["body/part[0]"]; got != "ü.txt" {
		t.Errorf("extended name is %q", got)
	}
}

func TestIdentityPartsAreWindowsOfTheBody(t *testing.T) {
	body := []byte(lines(`--a`, `Content-Disposition: form-data; name="f"`, ``, string(eicar()), `--a--`))
	store := &memoryStore{}
	opened := 0
	_, closer := content.New(content.Config{Store: store}).Unwrap(t.Context(), bodyObject(body), labelled("multipart/form-data; boundary=a"), scan.ContentLimits{}, func(scan.Object) {
		opened = store.open
	})
	if err := closer.Close(); err != nil || opened != 0 {
		t.Errorf("%d layers were opened for an identity part (error %v)", opened, err)
	}
}

func TestTransferEncodingsAreUndoneAndKept(t *testing.T) {
	e := eicar()
	quoted := strings.ReplaceAll(string(e), "=", "=3D")
	quoted = quoted[:20] + "=\r\n" + quoted[20:30] + fmt.Sprintf("=%02x", quoted[30]) + quoted[31:]
	wide := []byte{0xff, 0xfe}
	for _, c := range e {
		wide = append(wide, c, 0)
	}
	rows := []struct{ name, header, wire string }{
		{"base64", "Content-Transfer-Encoding: base64", base64.StdEncoding.EncodeToString(e)},
		{"base64 in lines", "Content-Transfer-Encoding: BASE64", base64.StdEncoding.EncodeToString(e)[:40] + "\r\n" + base64.StdEncoding.EncodeToString(e)[40:] + "\r\n"},
		{"quoted-printable", "Content-Transfer-Encoding: quoted-printable", quoted},
		{"gzip in base64", "Content-Encoding: gzip\r\nContent-Transfer-Encoding: base64", base64.StdEncoding.EncodeToString(gz(t, e))},
		{"UTF-16 by its mark", "Content-Type: text/plain", string(wide)},
		{"UTF-16 by its label", "Content-Type: text/plain; charset=UTF-16LE", string(wide[2:])},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			body := lines(`--a`, row.header, `Content-Disposition: form-data; name="f"`, ``, row.wire, `--a--`)
			u := unwrap(t, []byte(body), labelled("multipart/form-data; boundary=a"), scan.ContentLimits{}, content.Config{})
			u.wantClean(t)
			if !u.has(e) || !u.has([]byte(row.wire)) {
				t.Errorf("decoded: %v, as it is: %v; objects %q", u.has(e), u.has([]byte(row.wire)), u.paths)
			}
		})
	}
}

package content_test

import (
	"net/http"
	"testing"

	"github.com/portcullis-av/portcullis/scan/content"
)

func headers(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return m[name] }
}

func TestPartialRequests(t *testing.T) {
	rows := []struct {
		name, method, target string
		header               func(string) string
		partial              bool
	}{
		{"plain upload", "PUT", "/a", headers(), false},
		{"range asked for", "GET", "/a", headers("range", "bytes=0-1"), false},
		{"content range", "PUT", "/a", headers("content-range", "bytes 0-33/68"), true},
		{"content range of all", "PUT", "/a", headers("content-range", "bytes 0-67/68"), false},
		{"content range of unknown length", "PUT", "/a", headers("content-range", "bytes 0-67/*"), true},
		{"tus", "PATCH", "/files/1", headers("content-type", "application/offset+octet-stream", "upload-offset", "0"), true},
		{"IETF draft, begins", "POST", "/a", headers("upload-complete", "?0"), true},
		{"IETF draft, goes on", "PATCH", "/a", headers("upload-offset", "100", "upload-complete", "?1"), true},
		{"IETF draft, in one request", "POST", "/a", headers("upload-complete", "?1"), false},
		{"S3 part", "PUT", "/b/k?partNumber=2&uploadId=x", headers(), true},
		{"S3 object", "PUT", "/b/k?x-id=PutObject", headers(), false},
		{"Azure block", "PUT", "/c/b?comp=block&blockid=AAA", headers(), true},
		{"Azure block, said twice", "PUT", "/c/b?comp=x&comp=Block&blockid=AAA", headers(), true},
		{"Azure Files", "PUT", "/s/f?comp=range", headers("x-ms-write", "update"), true},
		{"Azure Data Lake", "PATCH", "/fs/f?action=append&position=0", headers(), true},
		{"Azure Data Lake, flush", "PATCH", "/fs/f?action=flush&position=9", headers(), false},
		{"Alibaba append", "POST", "/k?append&position=0", headers(), true},
		{"S3 append", "PUT", "/k", headers("x-amz-write-offset-bytes", "0"), true},
		{"Backblaze part", "POST", "/b2api/v2/b2_upload_part", headers("x-bz-part-number", "1"), true},
		{"Dropbox session", "POST", "/2/files/upload_session/append_v2", headers(), true},
		{"Dropbox", "POST", "/2/files/upload", headers(), false},
		{"WebHDFS append", "POST", "/webhdfs/v1/f?op=APPEND", headers(), true},
		{"another append", "POST", "/api?op=append", headers(), false},
		{"SabreDAV", "PATCH", "/f", headers("content-type", "application/x-sabredav-partialupdate", "x-update-range", "append"), true},
		{"IETF draft with a parameter", "POST", "/a", headers("upload-complete", "?0;x=y"), true},
		{"ownCloud chunk, escaped", "PUT", "/remote.php/dav//%75ploads/u/1/00001", headers(), true},
		{"Plupload, said twice", "POST", "/u?chunk=0&chunks=1&chunks=9", headers(), true},
		{"Google chunk", "POST", "/u", headers("x-goog-upload-command", "upload", "x-goog-upload-offset", "0"), true},
		{"Google in one request", "POST", "/u", headers("x-goog-upload-command", "upload, finalize", "x-goog-upload-offset", "0"), false},
		{"ownCloud chunk", "PUT", "/remote.php/dav/uploads/u/1/00001", headers(), true},
		{"ownCloud chunk, old", "PUT", "/remote.php/webdav/f-chunking-1-3-0", headers("oc-chunked", "1"), true},
		{"Dropzone chunk", "POST", "/u?dzchunkindex=1&dztotalchunkcount=3", headers(), true},
		{"Plupload in one piece", "POST", "/u?chunk=0&chunks=1", headers(), false},
	}
	for _, row := range rows {
		if detail, partial := content.PartialRequest(row.method, row.target, row.header); partial != row.partial || partial != (detail != "") {
			t.Errorf("%s: partial is %v (%q)", row.name, partial, detail)
		}
	}
}

func TestPartialResponses(t *testing.T) {
	rows := []struct {
		name    string
		status  int
		header  func(string) string
		partial bool
	}{
		{"plain", http.StatusOK, headers("content-type", "text/plain"), false},
		{"range", http.StatusPartialContent, headers("content-range", "bytes 0-33/68"), true},
		{"range of all", http.StatusPartialContent, headers("content-range", "bytes 0-67/68"), false},
		{"range without a header", http.StatusPartialContent, headers(), true},
		{"several ranges", http.StatusPartialContent, headers("content-type", "Multipart/ByteRanges; boundary=b"), true},
		{"delta", http.StatusIMUsed, headers("im", "vcdiff"), true},
	}
	for _, row := range rows {
		if detail, partial := content.PartialResponse(row.status, row.header); partial != row.partial || partial != (detail != "") {
			t.Errorf("%s: partial is %v (%q)", row.name, partial, detail)
		}
	}
}

package content

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// PartialRequest reports whether a request carries only a piece of what the
// origin will store: a range, a chunk of a resumable upload, a part of an S3
// multipart upload. No engine can judge a piece, so such a body is
// UNSCANNABLE(partial-content). detail names the protocol, in our words.
//
// target is the path with its query; header returns the values of a header by
// its lower-case name, joined with a comma, or "". The protocols known are HTTP
// ranges (RFC 9110 section 14.5), tus 1.0, the IETF draft on resumable uploads,
// S3 and its kin (Backblaze, Alibaba, Tencent), Azure's storages, Google Cloud
// Storage, Dropbox, WebHDFS, ownCloud's chunked WebDAV, SabreDAV's partial updates and
// the query parameters of resumable.js, flow.js, Dropzone, Plupload and Fine
// Uploader. Chunks that are announced inside a form are not seen here.
func PartialRequest(method, target string, header func(name string) string) (detail string, partial bool) {
	if method == http.MethodGet || method == http.MethodHead {
		return "", false // a range asked for; the answer tells whether it is one
	}
	if r := header("content-range"); r != "" && !wholeRange(r) {
		return "content range", true
	}
	for _, check := range []func(func(string) string) string{resumable, cloudUpload} {
		if detail := check(header); detail != "" {
			return detail, true
		}
	}
	where, query, _ := strings.Cut(target, "?")
	if plain, err := url.PathUnescape(where); err == nil {
		where = plain
	}
	where = path.Clean("/" + where)
	if detail := partialQuery(where, query); detail != "" {
		return detail, true
	}
	switch {
	case strings.Contains(where, "/dav/uploads/") && method == http.MethodPut:
		return "chunked WebDAV", true
	case strings.Contains(where, "/files/upload_session/"):
		return "Dropbox", true
	}
	return "", false
}

// PartialResponse reports whether a response carries only a piece of an entity:
// 206 with a range that does not cover the whole, multipart/byteranges, or a
// delta (RFC 3229). header is that of the response.
func PartialResponse(status int, header func(name string) string) (detail string, partial bool) {
	switch {
	case strings.Contains(strings.ToLower(header("content-type")), "multipart/byteranges"):
		return "several ranges", true
	case status == http.StatusPartialContent && !wholeRange(header("content-range")):
		return "content range", true
	case status == http.StatusIMUsed || header("im") != "":
		return "delta", true
	}
	return "", false
}

// wholeRange reports whether "bytes first-last/length" covers all of length.
func wholeRange(value string) bool {
	unit, rest, ok := strings.Cut(strings.TrimSpace(value), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return false
	}
	bounds, length, _ := strings.Cut(rest, "/")
	first, last, _ := strings.Cut(bounds, "-")
	n, err1 := strconv.ParseInt(length, 10, 64)
	from, err2 := strconv.ParseInt(first, 10, 64)
	to, err3 := strconv.ParseInt(last, 10, 64)
	return err1 == nil && err2 == nil && err3 == nil && from == 0 && to == n-1
}

// resumable recognises tus and the IETF draft. One request that begins and
// completes an upload is whole.
func resumable(header func(string) string) string {
	kind := strings.ToLower(header("content-type"))
	flag := func(name string) string { // an item may have parameters (RFC 8941 section 3.1.2)
		v, _, _ := strings.Cut(header(name), ";")
		return strings.TrimSpace(v)
	}
	offset, complete, incomplete := flag("upload-offset"), flag("upload-complete"), flag("upload-incomplete")
	switch {
	case strings.Contains(kind, "application/offset+octet-stream"):
		return "tus"
	case strings.Contains(kind, "application/partial-upload"):
		return "resumable upload"
	case offset != "" && offset != "0", complete == "?0", incomplete == "?1":
		return "resumable upload"
	case offset == "0" && complete != "?1" && incomplete != "?0":
		return "resumable upload"
	}
	return ""
}

func cloudUpload(header func(string) string) string {
	switch command := strings.ToLower(header("x-goog-upload-command")); {
	case strings.Contains(command, "upload") && (!strings.Contains(command, "finalize") || header("x-goog-upload-offset") != "0"):
		return "Google Cloud Storage"
	case header("oc-chunked") != "":
		return "chunked WebDAV"
	case header("x-ms-page-write") != "", header("x-ms-blob-condition-appendpos") != "":
		return "Azure Blob Storage"
	case header("x-bz-part-number") != "":
		return "Backblaze B2"
	case header("x-amz-write-offset-bytes") != "":
		return "S3 append"
	case header("x-update-range") != "", strings.Contains(strings.ToLower(header("content-type")), "x-sabredav-partialupdate"):
		return "partial update of WebDAV"
	}
	return ""
}

// partialQuery recognises protocols that number their pieces in the query. A
// body in one piece only is whole.
func partialQuery(where, query string) string {
	q, err := url.ParseQuery(query)
	if err != nil && len(q) == 0 {
		return ""
	}
	is := func(name string, values ...string) bool { // one of them, wherever it is given twice
		return slices.ContainsFunc(q[name], func(v string) bool { return slices.Contains(values, strings.ToLower(v)) })
	}
	has := func(names ...string) bool {
		for _, n := range names {
			if !slices.ContainsFunc(q[n], func(v string) bool { return v != "" }) {
				return false
			}
		}
		return true
	}
	switch {
	case has("partNumber") && has("uploadId"):
		return "S3 multipart upload"
	case is("comp", "block", "appendblock", "page", "range"), is("action", "append") && has("position"):
		return "Azure Storage"
	case q.Has("append") && has("position"):
		return "append to an object"
	case is("op", "append") && strings.HasPrefix(where, "/webhdfs/"):
		return "WebHDFS"
	}
	for _, names := range [][2]string{
		{"resumableChunkNumber", "resumableTotalChunks"},
		{"flowChunkNumber", "flowTotalChunks"},
		{"dzchunkindex", "dztotalchunkcount"},
		{"chunk", "chunks"},
		{"qqpartindex", "qqtotalparts"},
	} {
		if has(names[0], names[1]) && !slices.Equal(q[names[1]], []string{"1"}) {
			return "chunked upload"
		}
	}
	return ""
}

package content

import (
	"net/http"
	"net/url"
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
// S3, Azure Blob Storage, Google Cloud Storage, ownCloud's chunked WebDAV and
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
	_, query, _ := strings.Cut(target, "?")
	if detail := partialQuery(query); detail != "" {
		return detail, true
	}
	if strings.Contains(target, "/dav/uploads/") && method == http.MethodPut {
		return "chunked WebDAV", true
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
	offset, complete, incomplete := header("upload-offset"), header("upload-complete"), header("upload-incomplete")
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
	}
	return ""
}

// partialQuery recognises protocols that number their pieces in the query. A
// body in one piece only is whole.
func partialQuery(query string) string {
	q, err := url.ParseQuery(query)
	if err != nil && len(q) == 0 {
		return ""
	}
	has := func(names ...string) bool {
		for _, n := range names {
			if q.Get(n) == "" {
				return false
			}
		}
		return true
	}
	if has("partNumber") && has("uploadId") {
		return "S3 multipart upload"
	}
	switch strings.ToLower(q.Get("comp")) {
	case "block", "appendblock", "page":
		return "Azure Blob Storage"
	}
	for _, names := range [][2]string{
		{"resumableChunkNumber", "resumableTotalChunks"},
		{"flowChunkNumber", "flowTotalChunks"},
		{"dzchunkindex", "dztotalchunkcount"},
		{"chunk", "chunks"},
		{"qqpartindex", "qqtotalparts"},
	} {
		if has(names[0]) && has(names[1]) && q.Get(names[1]) != "1" {
			return "chunked upload"
		}
	}
	return ""
}

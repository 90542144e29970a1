package content

import (
	"fmt"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// Content codings that are undone (RFC 9110 section 8.4.1, RFC 7932, RFC 8878)
// and the framing that S3 clients announce as one.
const (
	codingGzip       = "gzip"
	codingDeflate    = "deflate"
	codingBrotli     = "br"
	codingZstd       = "zstd"
	codingAWSChunked = "aws-chunked"
)

// codingsOf reads all Content-Encoding lines of n as one list, in the order the
// sender applied them, and refuses n when it cannot be undone; the list is then
// empty, so that n is still looked into as it is.
func (w *walk) codingsOf(n *node, lines []string) []string {
	var list []string
	chunked := 0
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			switch c := strings.ToLower(strings.Trim(element, " \t")); c {
			case "", "identity":
			case "x-gzip":
				list = append(list, codingGzip)
			case codingAWSChunked:
				chunked++
			case codingGzip, codingDeflate, codingBrotli, codingZstd:
				list = append(list, c)
			default:
				w.refuse(n, scan.CauseUnknownCoding, "a content coding that is not decoded")
				return nil
			}
		}
	}
	if chunked > 0 {
		// S3 clients write it anywhere in the list, yet it is always the
		// outermost framing (SigV4 streaming uploads).
		list = append(list, codingAWSChunked)
	}
	if chunked > 1 || len(list) > w.limits.MaxCodings {
		w.refuse(n, scan.CauseTooDeep, "more stacked content codings than the limit")
		return nil
	}
	return list
}

// undoCoding decodes the outermost coding of n. When label and content
// disagree, n is refused and looked into as it is.
func (w *walk) undoCoding(n *node) error {
	last := len(n.codings) - 1
	coding, rest := n.codings[last], n.codings[:last]
	whole := false
	var first error
	for _, d := range w.u.pools.decodersOf(coding) {
		res, err := w.decode(n, d)
		if err != nil {
			return err
		}
		if res.err != nil && first == nil {
			first = res.err
		}
		if res.layer == nil {
			whole = whole || res.err == nil // stopped by a limit, which is noted
			continue
		}
		whole = whole || res.err == nil
		p := piece{word: d.word, name: n.obj.Name, contentType: n.obj.ContentType, codings: rest, kind: byCoding, lenient: n.lenient}
		if err := w.layer(n, p, res.layer); err != nil {
			return err
		}
	}
	if whole {
		return nil
	}
	if !n.lenient {
		w.refuse(n, scan.CauseMalformedCoding, fmt.Sprintf("content coding %s: %v", coding, first))
	}
	return w.look(n)
}

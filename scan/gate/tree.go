package gate

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// maxTree is how many objects of a body an exchange's record lists.
const maxTree = 16

// ObjectRecord is what became of one object of a body.
type ObjectRecord struct {
	// Path says where it was found, in our own words; its last element is what
	// it was unwrapped from: "body/gzip/part[2]".
	Path string
	// Name is the sender's file name, if any. Untrusted.
	Name string
	// Type is the media type by the content's first bytes, never a label.
	Type   string
	Size   int64
	SHA256 [32]byte
	// Verdict is that of the engines, undecided if none was asked for another one
	// had found malware already; or what the unwrapping says of it if that is worse.
	Verdict scan.Verdict
}

// Tree are the objects of a body in the order in which they stand in each other.
type Tree struct {
	Objects []ObjectRecord
	// Omitted is how many more there are. What was not called clean is listed first.
	Omitted int
}

// treeOf lists up to limit objects. Their contents are read, so the body must be
// there still. A finding of the unwrapping stands at the object it is about, or at
// the nearest one around.
func treeOf(objects []scan.Object, verdicts []scan.Verdict, unwrapped scan.Verdict, limit int) Tree {
	at := nearest(objects, unwrapped)
	order := make([]int, len(objects))
	for i := range order {
		order[i] = i
		if i == at {
			verdicts[i] = scan.Worst(verdicts[i], unwrapped)
		}
	}
	if len(order) > limit {
		slices.SortStableFunc(order, func(a, b int) int { return interest(b, verdicts[b]) - interest(a, verdicts[a]) })
		order = order[:limit]
	}
	slices.SortFunc(order, func(a, b int) int { return comparePaths(objects[a].Path, objects[b].Path) })
	t := Tree{Omitted: len(objects) - len(order)}
	for _, i := range order {
		o := objects[i]
		t.Objects = append(t.Objects, ObjectRecord{
			Path: o.Path, Name: o.Name, Type: typeOf(o), Size: o.Size, SHA256: o.Digest(), Verdict: verdicts[i],
		})
	}
	return t
}

// nearest is the object whose path is that of a finding, or begins it; -1 when
// there is no finding.
func nearest(objects []scan.Object, v scan.Verdict) int {
	if v.Outcome == scan.OutcomeClean {
		return -1
	}
	best := 0
	for i, o := range objects {
		if len(o.Path) > len(objects[best].Path) && (v.Object == o.Path || strings.HasPrefix(v.Object, o.Path+"/")) {
			best = i
		}
	}
	return best
}

// interest ranks an object where not all can be listed.
func interest(i int, v scan.Verdict) int {
	switch {
	case i == 0:
		return 10 // the body itself
	case v.Outcome == scan.OutcomeUndecided:
		return 0
	}
	return int(v.Outcome)
}

// comparePaths puts what is inside behind what is around it, and numbers in order.
func comparePaths(a, b string) int {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(as), len(bs)) {
		if as[i] == bs[i] {
			continue
		}
		aw, an := numbered(as[i])
		bw, bn := numbered(bs[i])
		if aw == bw && an != bn {
			return an - bn
		}
		return strings.Compare(as[i], bs[i])
	}
	return len(as) - len(bs)
}

// numbered splits "part[12]" into its word and number.
func numbered(element string) (word string, n int) {
	word, rest, ok := strings.Cut(element, "[")
	if !ok {
		return element, -1
	}
	digits := strings.TrimRightFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	digits, _, _ = strings.Cut(digits, ":")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return element, -1
	}
	return word, n
}

// typeOf sniffs (WHATWG MIME Sniffing); it decides nothing.
func typeOf(o scan.Object) string {
	head := make([]byte, min(o.Size, 512))
	if _, err := o.Reader().Read(head); err != nil {
		return ""
	}
	return http.DetectContentType(head)
}

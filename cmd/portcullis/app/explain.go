package app

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// objectLine is what is said of one object; the JSON form is an interface.
type objectLine struct {
	Path    string   `json:"path"`
	Name    string   `json:"name,omitempty"`
	Type    string   `json:"type"`
	Size    int64    `json:"size"`
	SHA256  string   `json:"sha256"`
	Outcome string   `json:"outcome"`
	Cause   string   `json:"cause,omitempty"`
	Threats []string `json:"threats,omitempty"`
	Engine  string   `json:"engine,omitempty"`
	Detail  string   `json:"detail,omitempty"`
}

// notAsked is the word for an object that no engine was asked about, since
// malware had been found in another.
const notAsked = "NOT SCANNED"

func objectLines(t gate.Tree) []objectLine {
	all := make([]objectLine, 0, len(t.Objects))
	for _, o := range t.Objects {
		v := o.Verdict
		l := objectLine{
			Path: o.Path, Name: o.Name, Type: o.Type, Size: o.Size, SHA256: hex.EncodeToString(o.SHA256[:]),
			Outcome: v.Outcome.String(), Cause: string(v.Cause), Threats: scan.SafeThreats(v.Threats), Engine: v.Engine, Detail: v.Detail,
		}
		if v.Outcome == scan.OutcomeUndecided {
			l.Outcome = notAsked
		}
		all = append(all, l)
	}
	return all
}

// printTree draws the objects, each below the one that it was found in, by what
// it was unwrapped from.
func printTree(w io.Writer, tree []objectLine) error {
	var around []string // paths of the objects around, outermost first
	for _, o := range tree {
		for len(around) > 0 && !strings.HasPrefix(o.Path, around[len(around)-1]+"/") {
			around = around[:len(around)-1]
		}
		label := o.Path
		if len(around) > 0 {
			label = strings.TrimPrefix(o.Path, around[len(around)-1]+"/")
		}
		text := strings.Repeat("  ", len(around)+1) + label
		if o.Name != "" && len(around) > 0 {
			text += " " + printable(fmt.Sprintf("%q", o.Name))
		}
		text += ": " + o.Outcome
		if o.Outcome != scan.OutcomeClean.String() && o.Cause != "" {
			text += " (" + strings.Join(append([]string{o.Cause}, o.Threats...), ", ") + ")"
		}
		text += fmt.Sprintf(", %s, %d bytes, sha256 %s", o.Type, o.Size, o.SHA256)
		if o.Detail != "" {
			text += ": " + printable(o.Detail)
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
		around = append(around, o.Path)
	}
	return nil
}

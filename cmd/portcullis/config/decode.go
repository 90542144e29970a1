package config

import (
	"errors"
	"fmt"

	"buf.build/go/protoyaml"
	"google.golang.org/protobuf/proto"
)

// decode fills the message from the YAML text. What the shape has reported is
// not reported again; the rest should be nothing, and is reported as it comes.
func decode(text []byte, message proto.Message, found *report) {
	// Unknown fields are the shape's to report, in better words.
	err := protoyaml.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, message)
	if err == nil {
		return
	}
	names := make(map[place]string, len(found.places))
	for path, at := range found.places {
		names[at] = path
	}
	for _, e := range flatten(err) {
		at, text := placeOfError(e)
		if path := names[at]; !found.seenAt[at] && !found.seen[path] {
			found.note(at, path, "%s", text)
		}
	}
}

func flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

// placeOfError reads the place out of the text of protoyaml's error, whose type
// is not exported: "<path>:<line>:<column> <cause>" and a snippet. The path is
// empty here.
func placeOfError(err error) (place, string) {
	var at place
	if _, scanErr := fmt.Sscanf(err.Error(), ":%d:%d ", &at.line, &at.column); scanErr != nil {
		return place{}, err.Error()
	}
	if cause := errors.Unwrap(err); cause != nil {
		return at, cause.Error()
	}
	return at, err.Error()
}

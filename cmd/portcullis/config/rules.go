package config

import (
	"errors"
	"fmt"
	"strings"

	"buf.build/go/protovalidate"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// checkRules applies the rules written in the proto.
func checkRules(message *configv1.Config, found *report) {
	err := protovalidate.Validate(message)
	var invalid *protovalidate.ValidationError
	switch {
	case err == nil:
	case errors.As(err, &invalid):
		for _, v := range invalid.Violations {
			path, text := words(v)
			found.add(path, "%s", text)
		}
	default: // a rule that does not compile: a defect, never a valid file
		found.add("", "cannot be checked: %v", err)
	}
}

// words says a violation the way this package says everything else.
func words(v *protovalidate.Violation) (path, text string) {
	path = protovalidate.FieldPathString(v.Proto.GetField())
	switch v.Proto.GetRuleId() {
	case "string.in":
		return path, fmt.Sprintf("must be %s, not %s", oneOf(v), shown(v.FieldValue.String()))
	case "string.min_len", "required":
		if v.FieldDescriptor == nil { // the oneof of an engine's kinds
			return strings.TrimSuffix(path, ".kind"), "says no kind; add one of builtin, clamd, cloudmersive, icap and remote"
		}
		return path, "must be given, and not empty"
	case "repeated.min_items":
		return path, "must have at least one entry"
	case "repeated.unique":
		return path, "has an entry twice"
	}
	return path, v.Proto.GetMessage()
}

// oneOf lists the words that a rule allows.
func oneOf(v *protovalidate.Violation) string {
	list := v.RuleValue.List()
	allowed := make([]string, 0, list.Len())
	for i := range list.Len() {
		allowed = append(allowed, fmt.Sprintf("%q", list.Get(i).String()))
	}
	if len(allowed) < 2 {
		return strings.Join(allowed, "")
	}
	last := len(allowed) - 1
	return strings.Join(allowed[:last], ", ") + " or " + allowed[last]
}

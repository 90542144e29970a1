//go:build tools

// Package tools pins the Istio control plane that "make test-mesh" starts. It
// lives in a module of its own, so that none of what it needs enters the
// service's go.mod. Istio's tags carry no "v", hence the pseudo-version; the
// other lines are newer than what Istio asks for, because the module proxy does
// not serve what Istio pins.
package tools

import _ "istio.io/istio/pilot/cmd/pilot-discovery"

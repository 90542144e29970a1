package envoy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gatewayObjectsRead are the objects of an Envoy Gateway, read as plain trees:
// their definitions are not Envoy's.
type gatewayObjectsRead struct {
	extensions, clients, backends, patches, routes []gatewayRead
	// granted are the namespaces from which policies may refer to a Service.
	granted map[string]bool
}

type gatewayRead struct {
	prefix, namespace string
	tree              map[string]any
}

func (g gatewayRead) get(keys ...string) any { return at1(g.tree, keys...) }

// targets are what a policy is for, as "Kind name".
func (g gatewayRead) targets() []string {
	refs := listOf(g.get("spec", "targetRefs"))
	if one, ok := g.get("spec", "targetRef").(map[string]any); ok {
		refs = append(refs, one)
	}
	var all []string
	for _, r := range refs {
		all = append(all, fmt.Sprintf("%v %v %v", at1(r, "kind"), at1(r, "name"), at1(r, "sectionName")))
	}
	return all
}

// narrow reports whether a policy is for less than a whole Gateway, so that it
// replaces that of the Gateway.
func (g gatewayRead) narrow() bool {
	refs := append(listOf(g.get("spec", "targetRefs")), listOf(g.get("spec", "targetSelectors"))...)
	return slices.ContainsFunc(append(refs, g.get("spec", "targetRef")), func(ref any) bool {
		kind, _ := at1(ref, "kind").(string)
		return strings.HasSuffix(kind, "Route") || at1(ref, "sectionName") != nil
	})
}

func listOf(v any) []any { l, _ := v.([]any); return slices.Clone(l) }

func (l *lint) readGatewayObject(tree map[string]any) {
	namespace, _ := at1(tree, "metadata", "namespace").(string)
	g := gatewayRead{l.prefix, namespace, tree}
	switch tree["kind"] {
	case extensionPolicy:
		l.gateway.extensions = append(l.gateway.extensions, g)
	case clientPolicy:
		l.gateway.clients = append(l.gateway.clients, g)
	case backendPolicy:
		l.gateway.backends = append(l.gateway.backends, g)
	case patchPolicy:
		l.gateway.patches = append(l.gateway.patches, g)
	case httpRoute, "GRPCRoute":
		l.gateway.routes = append(l.gateway.routes, g)
	case "ReferenceGrant":
		if l.gateway.granted == nil {
			l.gateway.granted = map[string]bool{}
		}
		for _, from := range listOf(g.get("spec", "from")) {
			if at1(from, "kind") == extensionPolicy {
				l.gateway.granted[fmt.Sprintf("%v to %s", at1(from, "namespace"), namespace)] = true
			}
		}
	}
}

// extended reports whether a policy of an Envoy Gateway has a processor.
func (l *lint) extended() bool {
	return slices.ContainsFunc(l.gateway.extensions, func(g gatewayRead) bool { return len(listOf(g.get("spec", "extProc"))) > 0 })
}

// checkGateway holds the rules for the policies of an Envoy Gateway.
func (l *lint) checkGateway() {
	if len(l.gateway.extensions) == 0 {
		return
	}
	targets := map[string]string{}
	for _, g := range l.gateway.extensions {
		l.known(g.prefix+"spec", g.get("spec"), "targetRef", "targetRefs", "targetSelectors", "mergeType", "wasm", "extProc", "lua", "dynamicModule")
		l.extension(g)
		for _, t := range g.targets() {
			key := g.namespace + " " + t
			if targets[key] != "" {
				l.add(LevelWarn, "L28", g.prefix+"spec.targetRefs", "Two EnvoyExtensionPolicies have the same target; only the oldest counts.", "Write them as one.")
			}
			targets[key] = g.prefix
		}
	}
	if l.extended() {
		l.listenerPolicies()
		l.routePolicies()
		for _, g := range l.gateway.patches {
			l.add(LevelWarn, "L25", g.prefix+"spec.jsonPatches", "It changes what Envoy Gateway makes of the policies, and is not read here.",
				"Check what comes of it: egctl x translate --to xds, or the config dump of an Envoy.")
		}
	}
}

func (l *lint) extension(g gatewayRead) {
	processors := listOf(g.get("spec", "extProc"))
	if len(processors) == 0 && g.narrow() && g.get("spec", "mergeType") == nil {
		l.add(LevelError, "L30", g.prefix+"spec.mergeType", "Without mergeType this policy replaces that of the Gateway, and with it the gate: what it is for is not scanned.",
			"Set mergeType: StrategicMerge.")
	}
	seen := map[string]bool{}
	for i, p := range processors {
		path := fmt.Sprintf("%sspec.extProc[%d]", g.prefix, i)
		l.known(path, p, "backendRef", "backendRefs", "backendSettings", "messageTimeout", "failOpen", "processingMode", "shadowMode", "metadata", "statusOnError")
		l.extProc(path, p)
		for j, ref := range listOf(at1(p, "backendRefs")) {
			at := fmt.Sprintf("%s.backendRefs[%d]", path, j)
			other, _ := at1(ref, "namespace").(string)
			if other != "" && other != g.namespace && !l.gateway.granted[g.namespace+" to "+other] {
				l.add(LevelWarn, "L26", at+".namespace", "A Service of another namespace needs a ReferenceGrant there, and none is given here: without it every exchange fails.",
					"Add the ReferenceGrant that portcullis envoy-config gateway writes.")
			}
			key := fmt.Sprint(at1(ref, "kind"), other, at1(ref, "name"), at1(ref, "port"))
			if seen[key] {
				l.add(LevelError, "L28", at, "The same processor stands in the policy twice: every body is scanned twice.", "Remove one.")
			}
			seen[key] = true
		}
	}
}

func (l *lint) extProc(path string, p any) {
	for _, field := range []string{"failOpen", "shadowMode"} {
		if v := at1(p, field); v != nil && v != true && v != false {
			l.add(LevelError, "L25", path+"."+field, fmt.Sprintf("%q is neither true nor false: Kubernetes refuses the policy.", fmt.Sprint(v)), "Set false.")
		}
	}
	if len(listOf(at1(p, "backendRefs"))) == 0 && at1(p, "backendRef") == nil {
		l.add(LevelError, "L6", path+".backendRefs", "There is no service to ask.", "Name the Service of Portcullis.")
	}
	if at1(p, "failOpen") == true {
		l.add(LevelError, "L1", path+".failOpen", "Any failure, also one that a client provokes, lets the body pass unscanned; so does a mistake in this policy.",
			"Set false, and fail: open in Portcullis' policy if that is wanted.")
	}
	if at1(p, "shadowMode") == true {
		l.add(LevelError, "L3", path+".shadowMode", "Envoy ignores every answer, so nothing is ever blocked.",
			"Remove it; to try Portcullis without blocking, set enforce: false in its policy.")
	}
	mode := at1(p, "processingMode")
	l.known(path+".processingMode", mode, "request", "response", "allowModeOverride")
	override := at1(mode, "allowModeOverride") == true
	duplexes := 0
	for _, leg := range []string{"request", "response"} {
		if l.gatewayLeg(path+".processingMode", leg, at1(mode, leg), override) {
			duplexes++
		}
	}
	if override {
		l.add(LevelWarn, "L5", path+".processingMode.allowModeOverride", "Any mode can be chosen by an answer, also none at all, and Envoy Gateway cannot list the permitted ones.", "Remove it.")
	}
	if duplexes < 2 {
		l.gatewayTimer(path, p)
	}
	if at1(p, "backendSettings", "retry") != nil {
		l.add(LevelWarn, "L22", path+".backendSettings.retry", "Envoy buffers what it sends in order to repeat it.", "Remove it.")
	}
	limit := 1024
	if n, ok := at1(p, "backendSettings", "circuitBreaker", "maxParallelRequests").(int); ok {
		limit = n
	}
	if limit < l.Exchanges {
		l.add(LevelError, "L13", path+".backendSettings.circuitBreaker.maxParallelRequests", fmt.Sprintf("Envoy fails every exchange above %d at a time; unset it is 1024.", limit),
			fmt.Sprintf("Set %d or more.", l.Exchanges))
	}
}

// gatewayLeg judges a leg and reports whether it is a duplex one.
func (l *lint) gatewayLeg(path, leg string, settings any, override bool) bool {
	const fix = "Set body: FullDuplexStreamed."
	body, _ := at1(settings, "body").(string)
	at := path + "." + leg
	for i, a := range listOf(at1(settings, "attributes")) {
		if credential(fmt.Sprint(a)) {
			l.add(LevelWarn, "L17", fmt.Sprintf("%s.attributes[%d]", at, i), "Credentials are sent where no scan needs them.", "Remove it.")
		}
	}
	l.known(at, settings, "body", "attributes")
	switch {
	case settings == nil && leg == "request":
		l.add(LevelError, "L6", at, "Nothing of the request is sent to Portcullis.", fix)
	case settings == nil:
		l.add(LevelError, "L6", at, "Nothing of the response is sent to Portcullis: downloads are not scanned.", fix)
	case body == "" && override:
		l.add(LevelError, "L6", at+".body", "No body is sent unless Portcullis asks for it, and Envoy Gateway cannot tell it that it may: it refuses every body that its policy covers.", fix)
	case body == "":
		l.add(LevelError, "L6", at+".body", "The "+leg+" body is not sent to Portcullis.", fix)
	case body == "Streamed":
		l.add(LevelError, "L6", at+".body", "Every chunk is released before the end of the body is seen; Portcullis refuses this mode.", fix)
	case body == "BufferedPartial":
		l.add(LevelError, "L4", at+".body", "What is beyond the buffer limit passes unscanned.", fix)
	case body != "Buffered" && body != "FullDuplexStreamed":
		l.add(LevelError, "L25", at+".body", fmt.Sprintf("Envoy Gateway has no mode %q.", body), fix)
	}
	return body == "FullDuplexStreamed"
}

func (l *lint) gatewayTimer(path string, p any) {
	timeout, ok := gatewayTime(at1(p, "messageTimeout"))
	if !ok {
		timeout = 200 * time.Millisecond
	}
	if need := l.ScanTimeout + time.Second; timeout < need {
		l.add(LevelError, "L8", path+".messageTimeout", fmt.Sprintf("%v is less than a scan may take: clean bodies get 504; unset it is 200 ms.", timeout),
			fmt.Sprintf("Set more than %v, Portcullis' scan timeout and a second.", need))
	}
}

func gatewayTime(v any) (time.Duration, bool) {
	text, _ := v.(string)
	d, err := time.ParseDuration(text)
	return d, err == nil
}

// quantity reads a number of bytes as Kubernetes writes it; 0 when it is none.
func quantity(v any) int64 {
	text := fmt.Sprint(v)
	for i, unit := range []string{"k", "M", "G", "T"} {
		for suffix, factor := range map[string]int64{unit: pow(1000, i+1), strings.ToUpper(unit) + "i": pow(1024, i+1)} {
			if number, ok := strings.CutSuffix(text, suffix); ok {
				n, _ := strconv.ParseInt(number, 10, 32)
				return n * factor
			}
		}
	}
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func pow(base int64, n int) int64 {
	for result := int64(1); ; n-- {
		if n == 0 {
			return result
		}
		result *= base
	}
}

// known reports the keys of a mapping that Envoy Gateway does not have there.
func (l *lint) known(path string, tree any, fields ...string) {
	l.knownTo("Envoy Gateway 1.9", path, tree, fields...)
}

func (l *lint) knownTo(who, path string, tree any, fields ...string) {
	m, _ := tree.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(fields, key) {
			l.add(LevelError, "L25", dot(path, key), fmt.Sprintf("%s has no field %q here.", who, key), "Correct the spelling or the indentation.")
		}
	}
}

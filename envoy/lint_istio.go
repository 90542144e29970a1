package envoy

import (
	"encoding/json"
	"fmt"
	"strings"
)

// istioObjects are the EnvoyFilters that put a gate somewhere.
type istioObjects struct {
	inserts []istioInsert
}

type istioInsert struct {
	path    string // of the patch
	reach   string // the pods and the direction that it is for
	cluster string
}

type envoyFilterRead struct {
	Metadata objectMeta `json:"metadata"`
	Spec     struct {
		WorkloadSelector map[string]any `json:"workloadSelector"`
		TargetRefs       []any          `json:"targetRefs"`
		ConfigPatches    []struct {
			ApplyTo string `json:"applyTo"`
			Match   struct {
				Context string `json:"context"`
			} `json:"match"`
			Patch struct {
				Value map[string]any `json:"value"`
			} `json:"patch"`
		} `json:"configPatches"`
	} `json:"spec"`
}

// readEnvoyFilter reads every patch as the message that istiod takes it for.
func (l *lint) readEnvoyFilter(tree map[string]any) error {
	j, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	var object envoyFilterRead
	if err := json.Unmarshal(j, &object); err != nil {
		return fmt.Errorf("EnvoyFilter: %w", err)
	}
	reach, err := json.Marshal([]any{object.Metadata.Namespace, object.Spec.WorkloadSelector, object.Spec.TargetRefs})
	if err != nil {
		return err
	}
	for i, p := range object.Spec.ConfigPatches {
		if p.Patch.Value == nil {
			continue
		}
		path, before := fmt.Sprintf("%sspec.configPatches[%d].patch.value", l.prefix, i), len(l.gates)
		l.readPatch(path, p.ApplyTo, p.Patch.Value)
		for _, g := range l.gates[before:] {
			cluster := g.m.GetGrpcService().GetEnvoyGrpc().GetClusterName()
			l.istio.inserts = append(l.istio.inserts, istioInsert{path, string(reach) + p.Match.Context, cluster})
			l.scope(object, cluster)
		}
	}
	return nil
}

// scope looks at whom an EnvoyFilter is for.
func (l *lint) scope(f envoyFilterRead, cluster string) {
	if len(f.Spec.WorkloadSelector) > 0 || len(f.Spec.TargetRefs) > 0 {
		return
	}
	const fix = "Select the pods with workloadSelector, or a Gateway with targetRefs."
	path := l.prefix + "spec.workloadSelector"
	_, host, _ := strings.Cut(cluster, "||") // outbound|PORT||SERVICE.NAMESPACE.svc.DOMAIN
	labels := strings.Split(host, ".")
	if f.Metadata.Namespace == "istio-system" || len(labels) > 1 && labels[1] == f.Metadata.Namespace {
		l.add(LevelError, "L31", path, "Without a selector the filter stands before Portcullis' own pods too: every exchange waits for itself.", fix)
		return
	}
	l.add(LevelWarn, "L31", path, "Without a selector the filter stands before every pod of the namespace.", fix)
}

// checkIstio looks for gates that stand before the same pods.
func (l *lint) checkIstio() {
	seen := map[istioInsert]string{}
	for _, p := range l.istio.inserts {
		key := istioInsert{reach: p.reach, cluster: p.cluster}
		if first, twice := seen[key]; twice {
			l.add(LevelError, "L28", p.path, "The same processor is put before the same pods as in "+first+": every body is scanned twice.", "Remove one.")
			continue
		}
		seen[key] = p.path
	}
}

package metrics

import (
	"runtime/debug"
	"testing"
)

func TestVersion_IsThatOfThisModuleInTheProgram(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		info *debug.BuildInfo
		want string
	}{
		{"no module information", nil, "unknown"},
		{"another program without it", &debug.BuildInfo{Main: debug.Module{Path: "example.org/shop", Version: "v9.0.0"}}, "unknown"},
		{"own program", &debug.BuildInfo{Main: debug.Module{Path: module, Version: "(devel)"}}, "(devel)"},
		{"own program, unnamed", &debug.BuildInfo{Main: debug.Module{Path: module}}, "unknown"},
		{"a dependency", &debug.BuildInfo{Deps: []*debug.Module{
			{Path: "example.org/other", Version: "v3.0.0"},
			{Path: module, Version: "v1.2.3"},
		}}, "v1.2.3"},
		{"a dependency that is replaced", &debug.BuildInfo{Deps: []*debug.Module{
			{Path: module, Version: "v1.2.3", Replace: &debug.Module{Path: "example.org/fork", Version: "v1.2.4"}},
		}}, "v1.2.4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := version(tt.info); got != tt.want {
				t.Errorf("version = %q, want %q", got, tt.want)
			}
		})
	}
}

package integration

// children are what a copy of this test binary can be told to run instead of the tests: see spawn.
var children = map[string]func(){
	"holds": childHolds,
	"dies":  childDies,
}

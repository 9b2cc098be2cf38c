//! Where the lanes of a divergent branch meet again.
//!
//! That point is the branch's immediate postdominator: the first instruction through which every path from the branch to the
//! exit goes. It is found by the algorithm of Cooper, Harvey and Kennedy ("A simple, fast dominance algorithm", 2001) on the
//! reversed graph of basic blocks, whose root is a virtual exit.

use super::inst::{Inst, NOWHERE, Op};

/// For every instruction: its reconvergence point if it is a branch, otherwise [`NOWHERE`].
pub fn meeting_points(code: &[Inst]) -> Vec<u32> {
    let n = code.len();
    let mut leader = vec![false; n + 1];
    leader[0] = true;
    for (pc, inst) in code.iter().enumerate() {
        match &inst.op {
            Op::Bra { target } => leader[*target as usize] = true,
            Op::BrxIdx { targets, .. } => targets.iter().for_each(|&t| leader[t as usize] = true),
            Op::Exit | Op::Trap => {}
            _ => continue,
        }
        leader[pc + 1] = true;
    }
    let starts: Vec<usize> = (0..n).filter(|&pc| leader[pc]).collect();
    let mut block_of = vec![0; n];
    for (b, &start) in starts.iter().enumerate() {
        let end = starts.get(b + 1).copied().unwrap_or(n);
        block_of[start..end].fill(b);
    }
    let exit = starts.len();
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); exit + 1];
    for b in 0..exit {
        let last = starts.get(b + 1).copied().unwrap_or(n) - 1;
        let block = |pc: usize| if pc < n { block_of[pc] } else { exit };
        let falls_through = match &code[last].op {
            Op::Bra { target } => {
                successors[b].push(block(*target as usize));
                code[last].guard.is_some()
            }
            Op::BrxIdx { targets, .. } => {
                successors[b].extend(targets.iter().map(|&t| block(t as usize)));
                code[last].guard.is_some()
            }
            Op::Exit | Op::Trap => {
                successors[b].push(exit);
                code[last].guard.is_some()
            }
            _ => true,
        };
        if falls_through {
            successors[b].push(block(last + 1));
        }
    }
    let parents = postdominators(&successors, exit);
    let mut meet = vec![NOWHERE; n];
    for (pc, inst) in code.iter().enumerate() {
        if matches!(inst.op, Op::Bra { .. } | Op::BrxIdx { .. }) {
            meet[pc] = match parents[block_of[pc]] {
                Some(b) if b != exit => starts[b] as u32,
                _ => NOWHERE,
            };
        }
    }
    meet
}

/// The immediate postdominator of every block; `None` for the exit and for blocks that cannot reach it.
fn postdominators(successors: &[Vec<usize>], exit: usize) -> Vec<Option<usize>> {
    let n = successors.len();
    let mut predecessors: Vec<Vec<usize>> = vec![Vec::new(); n];
    for (b, next) in successors.iter().enumerate() {
        next.iter().for_each(|&s| predecessors[s].push(b));
    }
    // Postorder of the reversed graph, from the exit.
    let (mut order, mut number) = (Vec::new(), vec![usize::MAX; n]);
    let (mut seen, mut stack) = (vec![false; n], vec![(exit, 0)]);
    seen[exit] = true;
    while let Some((b, i)) = stack.pop() {
        if let Some(&p) = predecessors[b].get(i) {
            stack.push((b, i + 1));
            if !seen[p] {
                seen[p] = true;
                stack.push((p, 0));
            }
        } else {
            number[b] = order.len();
            order.push(b);
        }
    }
    let mut parent: Vec<Option<usize>> = vec![None; n];
    parent[exit] = Some(exit);
    let mut changed = true;
    while changed {
        changed = false;
        for &b in order.iter().rev().filter(|&&b| b != exit) {
            let mut joined: Option<usize> = None;
            for &s in successors[b].iter().filter(|&&s| parent[s].is_some()) {
                joined = Some(match joined {
                    None => s,
                    Some(mut x) => {
                        let mut y = s;
                        while x != y {
                            while number[x] < number[y] {
                                x = parent[x].expect("processed");
                            }
                            while number[y] < number[x] {
                                y = parent[y].expect("processed");
                            }
                        }
                        x
                    }
                });
            }
            if joined.is_some() && parent[b] != joined {
                parent[b] = joined;
                changed = true;
            }
        }
    }
    parent[exit] = None;
    parent
}

#[cfg(test)]
mod tests {
    use super::postdominators;

    #[test]
    fn diamonds_loops_and_early_exits() {
        // 0 -> 1 | 2; both -> 3; 3 loops to itself or leaves to 4; 4 exits early or goes to 5; 6 is the exit.
        let successors = vec![vec![1, 2], vec![3], vec![3], vec![3, 4], vec![6, 5], vec![6], vec![]];
        let got = postdominators(&successors, 6);
        assert_eq!(got, [Some(3), Some(3), Some(3), Some(4), Some(6), Some(6), None]);
    }

    #[test]
    fn a_block_without_a_way_out_has_none() {
        let got = postdominators(&[vec![1, 2], vec![1], vec![3], vec![]], 3);
        assert_eq!(got, [Some(2), None, Some(3), None]);
    }
}

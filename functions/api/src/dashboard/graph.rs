//! Graphs as pictures: nodes in layers from left to right, drawn as SVG.
//!
//! Only places and lines; what a node is, who draws it says. The same graph is always the same picture.

use std::fmt::Write;

use maud::{Markup, html};

/// A node's size, and the space around it, in pixels.
const WIDTH: i64 = 176;
const HEIGHT: i64 = 40;
const MARGIN: i64 = 8;
/// Between two nodes above each other.
const BELOW: i64 = 12;
/// Between two columns of one layer, and between two layers: there the lines run.
const BESIDE: i64 = 16;
const BETWEEN: i64 = 56;
/// A layer with more nodes has several columns.
const ROWS: usize = 16;
/// How often the layers are put in order by their neighbours.
const SWEEPS: usize = 4;
/// The most lines that are drawn: with more nobody sees one, and the page is too long.
const MAX_LINES: usize = 1_500;
/// Letters that fit into a node.
const LABEL: usize = 18;
const DETAIL: usize = 24;

/// A node.
pub(super) struct Node {
    /// Unique among the nodes.
    pub id: String,
    /// What it is.
    pub label: String,
    /// What else there is to say, in small letters.
    pub detail: String,
    /// Its status in lower case: the class `status-<class>` colours it.
    pub class: String,
    /// Where it leads.
    pub href: Option<String>,
}

/// Where a node is drawn: its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    x: i64,
    y: i64,
}

/// The picture of nodes, and of edges from the first to the second, which is drawn further to the right. It scrolls in
/// its own box.
pub(super) fn svg(nodes: &[Node], edges: &[(usize, usize)], label: &str) -> Markup {
    let edges = drawable(nodes.len(), edges);
    let places = places(&layers(nodes.len(), &edges), &edges);
    let width = places.iter().map(|place| place.x + WIDTH).max().unwrap_or(0) + MARGIN;
    let height = places.iter().map(|place| place.y + HEIGHT).max().unwrap_or(0) + MARGIN;
    let (lines, heads) = lines(&places, &edges);
    // What is one image has no links in it for a screen reader.
    let role = if nodes.iter().any(|node| node.href.is_some()) { "group" } else { "img" };
    html! {
        div.graph-box tabindex="0" role="region" aria-label=(label) {
            svg.graph width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role=(role)
                aria-label=(label) {
                path.lines d=(lines) {}
                path.heads d=(heads) {}
                @for (node, place) in nodes.iter().zip(&places) { (drawn(node, *place)) }
            }
        }
        @if edges.len() > MAX_LINES {
            p.quiet { "There are " (edges.len()) " lines, of which " (MAX_LINES) " are drawn." }
        }
    }
}

fn drawn(node: &Node, Place { x, y }: Place) -> Markup {
    let Node { id, label, detail, class, href } = node;
    let inside = html! {
        g id={ "n-" (id) } class={ "node status-" (class) } transform={ "translate(" (x) " " (y) ")" } {
            title { (label) ": " (detail) }
            rect width=(WIDTH) height=(HEIGHT) rx="6" {}
            path d="M3 9v22" {}
            text x="12" y="17" { (short(label, LABEL)) }
            text.detail x="12" y="32" { (short(detail, DETAIL)) }
        }
    };
    html! {
        @if let Some(href) = href { a href=(href) { (inside) } } @else { (inside) }
    }
}

/// A text that fits; its end is what tells similar names apart, so the middle goes.
pub(super) fn short(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let (start, end) = (most / 2, most - most / 2 - 1);
    letters[..start].iter().chain(&['…']).chain(&letters[letters.len() - end..]).collect()
}

/// Each edge once, between two nodes that there are.
fn drawable(count: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut edges: Vec<_> = edges.iter().copied().filter(|(a, b)| a != b && *a < count && *b < count).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// The layer of each node: one after the last of those that lead to it. Where there is a circle, its first node is
/// taken for a beginning.
fn layers(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut open = vec![0_usize; count];
    let mut next = vec![Vec::new(); count];
    for (from, to) in edges {
        open[*to] += 1;
        next[*from].push(*to);
    }
    let mut layers = vec![0; count];
    let mut done = vec![false; count];
    while let Some(node) = (0..count).filter(|node| !done[*node]).min_by_key(|node| open[*node]) {
        done[node] = true;
        for to in &next[node] {
            open[*to] -= 1;
            if !done[*to] {
                layers[*to] = layers[*to].max(layers[node] + 1);
            }
        }
    }
    layers
}

/// The nodes of each layer from top to bottom, so that lines cross little: each node goes where its neighbours are.
fn ordered(layers: &[usize], edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut ordered = vec![Vec::new(); layers.iter().max().map_or(0, |last| last + 1)];
    for (node, layer) in layers.iter().enumerate() {
        ordered[*layer].push(node);
    }
    let mut neighbours = [vec![Vec::new(); layers.len()], vec![Vec::new(); layers.len()]];
    for (from, to) in edges {
        neighbours[0][*to].push(*from);
        neighbours[1][*from].push(*to);
    }
    let mut height = vec![0.0; layers.len()];
    let note = |layer: &[usize], height: &mut [f64]| {
        let half = layer.len() as f64 / 2.0;
        layer.iter().enumerate().for_each(|(row, node)| height[*node] = row as f64 - half);
    };
    ordered.iter().for_each(|layer| note(layer, &mut height));
    for sweep in 0..SWEEPS {
        let around = &neighbours[sweep % 2];
        let count = ordered.len();
        for step in 0..count {
            let layer = &mut ordered[if sweep % 2 == 0 { step } else { count - 1 - step }];
            let middle = |node: &usize| match around[*node].as_slice() {
                [] => height[*node],
                near => near.iter().map(|other| height[*other]).sum::<f64>() / near.len() as f64,
            };
            layer.sort_by(|a, b| middle(a).total_cmp(&middle(b)));
            note(layer, &mut height);
        }
    }
    ordered
}

/// Where each node is drawn, given its layer.
fn places(layers: &[usize], edges: &[(usize, usize)]) -> Vec<Place> {
    let ordered = ordered(layers, edges);
    // A wide layer is several columns of about the same height.
    let rows = |layer: &Vec<usize>| layer.len().div_ceil(layer.len().div_ceil(ROWS).max(1)).max(1);
    let highest = ordered.iter().map(rows).max().unwrap_or(1);
    let mut places = vec![Place { x: 0, y: 0 }; layers.len()];
    let mut left = MARGIN;
    for layer in &ordered {
        let rows = rows(layer);
        let top = MARGIN + (highest - rows) as i64 * (HEIGHT + BELOW) / 2;
        for (index, node) in layer.iter().enumerate() {
            let (column, row) = ((index / rows) as i64, (index % rows) as i64);
            places[*node] = Place { x: left + column * (WIDTH + BESIDE), y: top + row * (HEIGHT + BELOW) };
        }
        let columns = layer.len().div_ceil(rows).max(1) as i64;
        left += columns * (WIDTH + BESIDE) - BESIDE + BETWEEN;
    }
    places
}

/// All lines as one path, from the right of one node to the left of the other, and their heads as another.
fn lines(places: &[Place], edges: &[(usize, usize)]) -> (String, String) {
    let (mut lines, mut heads) = (String::new(), String::new());
    for (from, to) in edges.iter().take(MAX_LINES) {
        let (x, y) = (places[*from].x + WIDTH, places[*from].y + HEIGHT / 2);
        let (right, down) = (places[*to].x - x, places[*to].y - places[*from].y);
        let bend = (right / 2).max(BETWEEN / 2);
        // Writing to a text does not fail.
        let _ = write!(lines, "M{x} {y}c{bend} 0 {} {down} {right} {down}", right - bend);
        let _ = write!(heads, "M{} {}l-6-4v8z", x + right, y + down);
    }
    (lines, heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: usize) -> Node {
        Node { id: id.to_string(), label: "a".into(), detail: String::new(), class: "active".into(), href: None }
    }

    #[test]
    fn a_node_stands_one_layer_after_the_last_that_leads_to_it() {
        let check = |count: usize, edges: &[(usize, usize)], expect: &[usize]| {
            assert_eq!(layers(count, &drawable(count, edges)), expect, "{edges:?}");
        };
        check(0, &[], &[]);
        check(3, &[], &[0, 0, 0]);
        check(3, &[(0, 1), (1, 2), (0, 2)], &[0, 1, 2]);
        check(4, &[(3, 0), (2, 0), (2, 3)], &[2, 0, 0, 1]);
        // What is no edge between two nodes is left out.
        check(2, &[(0, 0), (0, 7), (0, 1), (0, 1)], &[0, 1]);
        // A circle is cut before its first node.
        check(3, &[(0, 1), (1, 2), (2, 0)], &[0, 1, 2]);
    }

    #[test]
    fn nodes_go_where_their_neighbours_are() {
        // 0 and 1 lead to 3 and 2: drawn by number, the lines would cross.
        let edges = [(0, 3), (1, 2)];
        let places = places(&layers(4, &edges), &edges);
        assert_eq!((places[0].y, places[1].y), (places[3].y, places[2].y));
    }

    #[test]
    fn no_two_nodes_are_drawn_on_each_other_and_a_wide_layer_is_broken() {
        for count in [1, 16, 17, 100, 200] {
            let edges: Vec<_> = (1..count).map(|node| (0, node)).collect();
            let places = places(&layers(count, &edges), &edges);
            for (index, a) in places.iter().enumerate() {
                for b in &places[index + 1..] {
                    let apart = (a.x - b.x).abs() >= WIDTH + BESIDE || (a.y - b.y).abs() >= HEIGHT + BELOW;
                    assert!(apart, "{count}: {a:?} {b:?}");
                }
                assert!(a.y < MARGIN + ROWS as i64 * (HEIGHT + BELOW), "{count}: {a:?}");
            }
        }
    }

    #[test]
    fn a_line_goes_from_the_right_of_a_node_to_the_left_of_the_next() {
        let (lines, heads) = lines(&[Place { x: 8, y: 8 }, Place { x: 240, y: 60 }], &[(0, 1)]);
        assert_eq!(lines, "M184 28c28 0 28 52 56 52");
        assert_eq!(heads, "M240 80l-6-4v8z");
    }

    #[test]
    fn a_long_name_loses_its_middle() {
        let check = |text: &str, expect: &str| assert_eq!(short(text, 5), expect);
        check("abcde", "abcde");
        check("abcdefgh", "ab…gh");
        check("äöüßéè", "äö…éè");
    }

    #[test]
    fn a_picture_is_an_image_unless_its_nodes_are_links() {
        let image = svg(&[node(0)], &[], "all").into_string();
        assert!(image.contains("role=\"img\" aria-label=\"all\"") && !image.contains("<a "), "{image}");
        let linked = svg(&[Node { href: Some("#x".into()), ..node(0) }], &[], "all").into_string();
        assert!(linked.contains("role=\"group\"") && linked.contains("<a href=\"#x\">"), "{linked}");
    }

    #[test]
    fn what_a_node_says_is_shown_as_text() {
        let hostile = "\"><script>";
        let one = Node { label: hostile.into(), detail: hostile.into(), class: hostile.into(), ..node(0) };
        let shown = svg(&[one], &[], hostile).into_string();
        assert!(!shown.contains("<script") && shown.contains("&lt;script&gt;"), "{shown}");
    }

    #[test]
    fn the_same_graph_is_the_same_picture() {
        let draw = || {
            let nodes: Vec<Node> = (0..40).map(node).collect();
            let edges: Vec<_> = (0..39).map(|from| (from, (from * 7 + 3) % 40)).collect();
            svg(&nodes, &edges, "all").into_string()
        };
        assert_eq!(draw(), draw());
    }
}

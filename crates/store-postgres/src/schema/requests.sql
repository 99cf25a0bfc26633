-- Requests that one replica makes and another one answers. None of it is durable: a crash of the server ends
-- all requests. `taken_by` is the replica that makes a request at the peer, `turn` how often it was taken; once
-- it has an `ending`, the body is that of the reply.

CREATE UNLOGGED TABLE request(
    asker int NOT NULL, number bigint NOT NULL, link bytea NOT NULL, deadline bigint, depth int NOT NULL,
    taken_by int, turn int NOT NULL DEFAULT 0, ending int, value bigint,
    crc bigint NOT NULL, is_bytes boolean NOT NULL, body bytea NOT NULL,
    PRIMARY KEY(asker, number)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE request ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX request_waits ON request(link) WHERE taken_by IS NULL AND ending IS NULL;
CREATE INDEX request_ended ON request(asker, link) WHERE ending IS NOT NULL;

-- Takes requests that nobody has taken, for these links, or all if there are none, as far as the replica
-- owns them: one, and more as long as they have few bytes.
CREATE FUNCTION take_requests(a_replica int, a_links bytea[], a_most int, a_bytes bigint)
RETURNS TABLE(asker int, number bigint, link bytea, turn int, depth int, time_left bigint,
    crc bigint, is_bytes boolean, body bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now bigint := millis();
    v_taken int := 0;
    v_bytes bigint := 0;
    r request%ROWTYPE;
BEGIN
    IF a_links IS NULL THEN
        a_links := ARRAY(SELECT DISTINCT q.link FROM request q WHERE q.taken_by IS NULL AND q.ending IS NULL);
    END IF;
    a_links := ARRAY(SELECT l.id FROM link l WHERE l.id = ANY(a_links) AND l.owner = a_replica);
    FOR r IN SELECT q.* FROM request q
        WHERE q.link = ANY(a_links) AND q.taken_by IS NULL AND q.ending IS NULL
            AND (q.deadline IS NULL OR q.deadline > v_now)
        LIMIT a_most FOR UPDATE SKIP LOCKED
    LOOP
        v_bytes := v_bytes + octet_length(r.body);
        EXIT WHEN v_taken > 0 AND v_bytes > a_bytes;
        v_taken := v_taken + 1;
        UPDATE request q SET taken_by = a_replica, turn = r.turn + 1
        WHERE q.asker = r.asker AND q.number = r.number;
        asker := r.asker;
        number := r.number;
        link := r.link;
        turn := r.turn + 1;
        depth := r.depth;
        time_left := r.deadline - v_now;
        crc := r.crc;
        is_bytes := r.is_bytes;
        body := r.body;
        RETURN NEXT;
    END LOOP;
END $$;

-- Writes how requests have ended that the replica has taken, or gives those back that have no `kind`. Returns
-- those about which something was written.
CREATE FUNCTION end_requests(
    a_replica int, a_askers int[], a_numbers bigint[], a_turns int[], a_kinds int[], a_values bigint[],
    a_crcs bigint[], a_is_bytes boolean[], a_bodies bytea[]
) RETURNS TABLE(asker int, link bytea, is_back boolean) LANGUAGE sql AS $$
    UPDATE request q SET taken_by = CASE WHEN u.kind IS NULL THEN NULL ELSE q.taken_by END,
        ending = u.kind, value = u.value,
        crc = CASE WHEN u.kind IS NULL THEN q.crc ELSE u.crc END,
        is_bytes = CASE WHEN u.kind IS NULL THEN q.is_bytes ELSE u.is_bytes END,
        body = CASE WHEN u.kind IS NULL THEN q.body ELSE u.body END
    FROM unnest(a_askers, a_numbers, a_turns, a_kinds, a_values, a_crcs, a_is_bytes, a_bodies)
        u(asker, number, turn, kind, value, crc, is_bytes, body)
    WHERE q.asker = u.asker AND q.number = u.number AND q.turn = u.turn AND q.taken_by = a_replica
        AND q.ending IS NULL
    RETURNING q.asker, q.link, q.ending IS NULL
$$;

-- What is known of requests of a replica, of which nobody may have told: whether each is there, and whether
-- the replica that has taken it lives. `owner` is whoever has to be told of one that nobody has taken.
CREATE FUNCTION look_after(a_asker int, a_numbers bigint[])
RETURNS TABLE(number bigint, link bytea, is_there boolean, is_dead boolean, owner int,
    ending int, value bigint, crc bigint, is_bytes boolean, body bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE v_dead int[];
BEGIN
    v_dead := ARRAY(SELECT t.n FROM (
        SELECT DISTINCT q.taken_by AS n FROM unnest(a_numbers) u(number)
        JOIN request q ON q.asker = a_asker AND q.number = u.number
        WHERE q.taken_by IS NOT NULL AND q.ending IS NULL) t WHERE NOT alive(t.n));
    RETURN QUERY SELECT u.number, q.link, q.number IS NOT NULL, coalesce(q.taken_by = ANY(v_dead), false),
        CASE WHEN q.taken_by IS NULL THEN (SELECT l.owner FROM link l WHERE l.id = q.link) END,
        q.ending, q.value, q.crc, q.is_bytes, CASE WHEN q.ending IS NOT NULL THEN q.body END
    FROM unnest(a_numbers) u(number) LEFT JOIN request q ON q.asker = a_asker AND q.number = u.number;
END $$;

-- Removes requests that nobody waits for. Of those that the replica has taken, returns the places in the list
-- of those that are over.
CREATE FUNCTION requests_over(a_replica int, a_left_over bigint, a_askers int[], a_numbers bigint[], a_turns int[])
RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE v_dead int[];
BEGIN
    v_dead := ARRAY(SELECT t.n FROM (SELECT DISTINCT q.asker AS n FROM request q) t WHERE NOT alive(t.n));
    DELETE FROM request q WHERE q.asker = ANY(v_dead) OR q.deadline < millis() - a_left_over;
    RETURN ARRAY(SELECT u.i::int FROM unnest(a_askers, a_numbers, a_turns) WITH ORDINALITY u(asker, number, turn, i)
        WHERE NOT EXISTS (SELECT FROM request q WHERE q.asker = u.asker AND q.number = u.number
            AND q.turn = u.turn AND q.taken_by = a_replica AND q.ending IS NULL));
END $$;
